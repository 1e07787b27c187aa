"""Sessions, the one place that says how this project uses the machine's devices."""

import tensorflow.compat.v1 as tf

from mgn.system.forks import claim_process

_NO_GPU = 'no GPU found; for NVIDIA GPUs: pip install "tensorflow[and-cuda]==2.21.0"'


def new_graph(seed: int = 0) -> tf.Graph:
    """An empty graph, and the seed of what is drawn in it.

    No other code makes a graph: one without a seed cannot be built once `--deterministic` has
    switched the whole process, even if nothing is ever drawn in it.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(seed)
    return graph


def new_session(
    graph: tf.Graph, rewrite: bool = True, target: str = "", config: tf.ConfigProto | None = None
) -> tf.Session:
    """A session on `graph` that takes GPU memory as it needs it, not all at once.

    Rewriting makes a frozen graph faster, but takes seconds for each output: too long for a few
    images. Without `rewrite`, TensorFlow runs the graph as it is. Training has a `target` (its
    server in a cluster) and a `config` of its own.

    Raises:
        RuntimeError: this process was forked from one that had used TensorFlow, see `forks`.
    """
    claim_process()
    return tf.Session(target, graph, config or session_config(rewrite))


def session_config(rewrite: bool = True, xla: bool = False) -> tf.ConfigProto:
    """What `new_session` configures, for other sessions; `xla` compiles clusters of operations."""
    config = tf.ConfigProto()
    config.gpu_options.allow_growth = True
    passes = config.graph_options.rewrite_options
    passes.disable_meta_optimizer = not rewrite
    if not has_gpu():
        # One pass makes a folded graph faster on CPUs: it fuses convolution, bias and ReLU. The
        # others copy the weights. A first call takes 2 s and 1 GB more
        # (doc/benchmarks-inference.md).
        passes.constant_folding = passes.OFF
        passes.shape_optimization = passes.OFF
        passes.arithmetic_optimization = passes.OFF
        passes.dependency_optimization = passes.OFF
        passes.loop_optimization = passes.OFF
        passes.function_optimization = passes.OFF
        passes.debug_stripper = passes.OFF
        passes.common_subgraph_elimination = passes.OFF
        passes.layout_optimizer = passes.OFF
        passes.disable_model_pruning = True
        passes.memory_optimization = passes.NO_MEM_OPT
        passes.meta_optimizer_iterations = passes.ONE
    if xla:
        config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    return config


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def describe_devices() -> str:
    """One line: the GPUs TensorFlow sees, or what to do where it sees none."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"devices: CPU ({_NO_GPU})"
    details_of = tf.config.experimental.get_device_details
    names = [details_of(gpu).get("device_name", gpu.name) for gpu in gpus]
    return f"devices: {len(gpus)} GPU ({', '.join(names)})"
