"""Sessions, the one place that says how this project uses the machine's devices."""

import tensorflow.compat.v1 as tf

NO_GPU = (
    "no GPU found, so the CPU does the work; on a machine with an NVIDIA GPU install the CUDA libraries:"
    ' pip install "tensorflow[and-cuda]==2.21.0"'
)
# What makes a folded graph faster is one pass, which fuses convolution, bias and ReLU. Each other
# copies the weights: with all of them the first call takes 2 s and 1 GB more (doc/benchmarks.md).
_OF_NO_USE_ON_CPUS = (
    *(
        "constant_folding",
        "shape_optimization",
        "arithmetic_optimization",
        "dependency_optimization",
    ),
    *(
        "loop_optimization",
        "function_optimization",
        "debug_stripper",
        "common_subgraph_elimination",
    ),
    "layout_optimizer",
)


def new_session(graph: tf.Graph, rewrite: bool = True) -> tf.Session:
    """A session on `graph` that takes GPU memory as it needs it, not all at once.

    Without `rewrite`, TensorFlow leaves the graph as it is. Rewriting makes a frozen graph faster,
    and takes seconds for each output that is asked for: too long for a few images.
    """
    return tf.Session(graph=graph, config=session_config(rewrite))


def session_config(rewrite: bool = True, xla: bool = False) -> tf.ConfigProto:
    """What `new_session` configures, for other sessions; `xla` compiles clusters of operations."""
    config = tf.ConfigProto()
    config.gpu_options.allow_growth = True
    passes = config.graph_options.rewrite_options
    passes.disable_meta_optimizer = not rewrite
    if not has_gpu():
        for name in _OF_NO_USE_ON_CPUS:
            setattr(passes, name, passes.OFF)
        passes.disable_model_pruning, passes.memory_optimization = True, passes.NO_MEM_OPT
        passes.meta_optimizer_iterations = passes.ONE
    if xla:
        config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    return config


def has_gpu() -> bool:
    """Whether TensorFlow sees one."""
    return bool(tf.config.list_physical_devices("GPU"))


def describe_devices() -> str:
    """One line: the GPUs TensorFlow sees, or what to do where it sees none."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus
    ]
    return f"devices: {len(gpus)} GPU ({', '.join(names)})" if gpus else f"devices: CPU ({NO_GPU})"
