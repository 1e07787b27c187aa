"""Where the replicas of a step run: on one device, on all GPUs of a machine, or on a cluster."""

import logging
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config.settings import RunSettings
from mgn.data.sampling import Share
from mgn.system.errors import InputError
from mgn.system.session import has_gpu, new_graph, session_config
from mgn.training.cluster import Cluster, from_environment

log = logging.getLogger(__name__)


class Placement(NamedTuple):
    """Of this process."""

    strategy: tf.distribute.Strategy
    config: tf.ConfigProto  # of its session
    target: str = ""  # of its session; "": nobody else takes part
    worker: int = 0  # this process among them
    addresses: tuple[str, ...] = ("",)  # host:port of every worker

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes the run's files."""
        return self.worker == 0

    @property
    def share(self) -> Share:
        """The part of each batch that this process reads."""
        total = self.strategy.num_replicas_in_sync
        local = total // len(self.addresses)
        return Share(self.worker * local, local, total)


def place(replicas: int | None = None, xla: bool = False) -> Placement:
    """Find out where to run, from TF_CONFIG and the GPUs of this machine.

    Args:
        replicas: copies of the network in this process; None: one a GPU, or one on the CPU. More
            than one on a CPU are of use for trying things out only.
        xla: compile with XLA.

    Raises:
        InputError: TF_CONFIG cannot be used, or there are fewer GPUs than `replicas`.
    """
    config = _config(xla)
    cluster = from_environment()
    if cluster:
        if replicas:
            raise InputError("--replicas: not with TF_CONFIG, which uses all GPUs; leave it out")
        return _worker(cluster, config)
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus and replicas and replicas > gpus:
        raise InputError(f"--replicas {replicas}: this machine has {gpus} GPU; use no more")
    count = replicas or max(gpus, 1)
    if count == 1:
        return one_device(xla)
    if not gpus:
        config.device_count["CPU"] = count
    kind = "gpu" if gpus else "cpu"
    devices = [f"/{kind}:{i}" for i in range(count)]
    with new_graph().as_default():  # or it would be one for eager execution
        return Placement(tf.distribute.MirroredStrategy(devices), config)


def notes(settings: RunSettings, placement: Placement) -> list[str]:
    """What the user of these settings may not expect where they run."""
    found = []
    total = placement.share.total
    if placement.is_chief and settings.replicas not in (None, total):
        began = f"the run began with {settings.replicas} replicas and now has {total}"
        found.append(f"{began}: figures stay close, but not bit-identical")
    if settings.config.sync_batch_norm and total == 1:
        found.append("--sync_batch_norm has no effect with one replica")
    if settings.config.freeze_steps and not settings.init_checkpoint:
        found.append("--freeze_steps without --init_checkpoint freezes random weights")
    if settings.config.winograd and has_gpu():
        found.append("--winograd is for CPUs; on GPUs cuDNN chooses such algorithms itself")
    return found


def one_device(xla: bool = False) -> Placement:
    """The first GPU, or the CPU, whatever else there is."""
    return Placement(tf.distribute.get_strategy(), _config(xla))


def _config(xla: bool) -> tf.ConfigProto:
    """On a CPU rewriting the graph makes no step faster, and takes seconds before the first."""
    return session_config(rewrite=has_gpu(), xla=xla)


def _worker(cluster: Cluster, config: tf.ConfigProto) -> Placement:
    addresses = cluster.addresses
    mine = addresses[cluster.worker]
    log.info(f"worker {mine} of {', '.join(addresses)}: waiting for the others")
    spec = tf.train.ClusterSpec(cluster.tasks)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type=cluster.kind, task_id=cluster.index, rpc_layer="grpc"
    )
    try:
        with new_graph().as_default():  # or it would be one for eager execution
            strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy(
                cluster_resolver=resolver
            )
        config = strategy.update_config_proto(config)
        server = tf.train.Server(spec, cluster.kind, cluster.index, config=config)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        advice = f"{mine} must be this machine, and the port free"
        raise InputError(f"TF_CONFIG: {why}; {advice}") from None
    return Placement(strategy, config, server.target, cluster.worker, addresses)
