"""Steps against MGN-pytorch's, optimisers against `torch.optim`, the schedule by hand, batches."""

import dataclasses

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, relative

from mgn import training, weights
from mgn.config import RECIPES, NetworkOptions, TrainConfig
from mgn.config.variants import VARIANTS
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data.decoding import read_image
from mgn.data.images import normalise, resize
from mgn.data.reading import training_dataset
from mgn.data.records import read_split
from mgn.data.sampling import labels_of, pk_batches
from mgn.system.session import new_session
from mgn.training import graph as graph_module
from mgn.training.graph import learning_rate_at
from mgn.training.optimizers import apply, make_optimizer
from mgn.training.phases import divide
from mgn.weights.families import to_tf_layout, to_torch_layout
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import assign_some, model_variables


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_four_steps_are_mgn_pytorchs(name, small_arrays):
    stored = np.load(REFERENCE / f"train_{name}.npz")
    config = TrainConfig(
        optimizer={"sgd": "sgd", "adam": "amsgrad"}[name],
        learning_rate=float(stored["learning_rate"]),
        batch_ids=4,
    )
    images = tf.placeholder(tf.float32, [None, 384, 128, 3])
    labels = tf.constant(np.repeat(np.arange(4), 4))
    ops = training.build_train_graph(config, images, labels, 10)
    variables = {v.op.name: v for v in model_variables()}
    rng = np.random.RandomState(11)
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        session.run([v.initializer for v in tf.global_variables()])
        weights.assign(session, small_arrays)
        for step in range(4):
            batch = rng.standard_normal((16, 3, 384, 128)).astype(np.float32).transpose(0, 2, 3, 1)
            parts = {
                part: getattr(ops, part)
                for part in ("cross_entropy", "triplet", "total", "grad_norm")
            }
            got, _ = session.run([parts, ops.train_op], {images: batch})
            for part, value in got.items():
                tolerance = 1e-3 if part == "grad_norm" else 2e-4
                assert value == pytest.approx(stored[part][step], rel=tolerance), (
                    f"{part} of step {step}"
                )
        mean, variance, after = session.run(
            [
                variables[f"backbone/{leaf}"]
                for leaf in ("bn1/running_mean", "bn1/running_var", "conv1/weight")
            ]
        )
    assert relative(mean, stored["bn1_running_mean"]) <= 1e-4
    assert relative(variance, stored["bn1_running_var"]) <= 1e-4
    before = small_arrays["backbone/conv1/weight"].astype(np.float64)
    moved = (after - before).ravel()
    expected = (stored["conv1_weight"].transpose(2, 3, 1, 0) - before).ravel()
    lengths = np.linalg.norm(moved), np.linalg.norm(expected)
    cosine = moved @ expected / np.prod(lengths)
    print(f"{name}: conv1 moved with cosine {cosine:.5f}, norm {lengths[0] / lengths[1]:.4f}")
    assert cosine >= 0.99
    assert lengths[0] == pytest.approx(lengths[1], rel=0.03)


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01)),
        (
            {"optimizer": "sgd", "nesterov": True},
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
        ),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.01)),
        (
            {"optimizer": "amsgrad"},
            lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.01, amsgrad=True),
        ),
    ],
    ids=["sgd", "nesterov", "adam", "amsgrad"],
)
def test_optimisers_follow_pytorchs_for_20_steps(options, theirs):
    """Least squares whose target moves: second moments shrink, and AMSGrad differs from Adam."""
    rng = np.random.default_rng(0)
    start, matrix = (
        rng.normal(size=6).astype(np.float32),
        rng.normal(size=(8, 6)).astype(np.float32),
    )
    targets = (rng.normal(size=(20, 8)) * np.geomspace(3, 1e-3, 20)[:, None]).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = theirs([parameter])
    config = TrainConfig(learning_rate=0.05, weight_decay=0.01, **options)
    step = tf.train.get_or_create_global_step()
    x = tf.get_variable("x", initializer=start)
    target = tf.placeholder(tf.float32, [8])
    loss = tf.reduce_sum(tf.square(tf.linalg.matvec(matrix, x) - target))
    gradient = tf.gradients(loss, x)[0] + config.weight_decay * x
    ours = make_optimizer(config, tf.constant(0.05), step).apply_gradients([(gradient, x)], step)
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        for value in targets:
            optimizer.zero_grad()
            torch.sum(
                (torch.from_numpy(matrix) @ parameter - torch.from_numpy(value)) ** 2
            ).backward()
            optimizer.step()
            session.run(ours, {target: value})
            assert relative(session.run(x), parameter.detach().numpy()) <= 1e-6


@pytest.mark.parametrize("name", ["sgd", "adam", "amsgrad"])
def test_what_was_frozen_moves_as_pytorchs_does(name):
    """Two variables, one of a body that stands still for 5 of 12 steps: no gradient in PyTorch."""
    kind = {"lr": 0.05, "weight_decay": 0.01}
    start = np.float32([1.0, -2.0])
    parameters = [torch.nn.Parameter(torch.from_numpy(start.copy())) for _ in range(2)]
    if name == "sgd":
        theirs = torch.optim.SGD(parameters, momentum=0.9, **kind)
    else:
        theirs = torch.optim.Adam(parameters, amsgrad=name == "amsgrad", **kind)
    frozen = {"freeze_steps": 5, "freeze_layers": ("p1",)}
    config = TrainConfig(optimizer=name, learning_rate=0.05, weight_decay=0.01, **frozen)
    step = tf.train.get_or_create_global_step()
    names = "p1/weight", "reduction_0/weight"
    ours = [tf.get_variable(n, initializer=start, use_resource=True) for n in names]
    targets = tf.placeholder(tf.float32, [2])
    updates = []
    optimizer = make_optimizer(config, tf.constant(0.05), step)
    for bodies in (config.freeze_layers, ()):
        moving, standing = divide(ours, bodies)
        gradients = [2 * (v - targets) + config.weight_decay * v for v in moving]
        updates.append(apply(optimizer, gradients, moving, step, None, standing))
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        for done, target in enumerate(np.random.default_rng(1).normal(size=(12, 2)).astype("f")):
            theirs.zero_grad()
            parameters[0].requires_grad_(done >= 5)
            loss = sum(torch.sum((p - torch.from_numpy(target)) ** 2) for p in parameters)
            loss.backward()
            theirs.step()
            session.run(updates[done >= 5], {targets: target})
            for variable, parameter in zip(ours, parameters, strict=True):
                expected = parameter.detach().numpy()
                assert relative(session.run(variable), expected) <= 1e-6, (variable.name, done)
            assert np.array_equal(session.run(ours[0]), start) == (done < 5)


def test_learning_rate_by_hand():
    config = TrainConfig(learning_rate=1.0, milestones=(2, 3), gamma=0.1, warmup_steps=4)
    step = tf.placeholder(tf.int64, [])
    rate = learning_rate_at(step, config, per_epoch=5)
    with tf.Session() as session:
        got = [session.run(rate, {step: i}) for i in (0, 1, 3, 4, 9, 10, 14, 15, 100)]
    assert got == pytest.approx([0.25, 0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_by_hand():
    options = {"schedule": "cosine", "cosine_start": 2, "epochs": 6, "final_learning_rate": 0.1}
    config = TrainConfig(learning_rate=1.0, warmup_steps=4, warmup_factor=0.5, **options)
    step = tf.placeholder(tf.int64, [])
    rate = learning_rate_at(step, config, per_epoch=5)
    with tf.Session() as session:
        got = [session.run(rate, {step: i}) for i in (0, 1, 3, 10, 15, 20, 25, 30, 99)]
    # from 0.1 to 1 along half a cosine between steps 10 and 30; warm-up from half the rate in steps
    # of 1/8
    falling = [0.1 + 0.9 * (1 + np.cos(np.pi * t)) / 2 for t in (0, 0.25, 0.5, 0.75, 1)]
    assert got == pytest.approx([0.625, 0.75, 1, *falling, 0.1])


def test_the_moving_average_against_a_loop():
    """Least squares by SGD: the average is that of the weights after each step, short at first."""
    x = tf.get_variable(
        "backbone/conv1/weight", initializer=np.float32([1.0, -2.0]), use_resource=True
    )
    step = tf.train.get_or_create_global_step()
    config = TrainConfig(optimizer="sgd", learning_rate=0.1, momentum=0.0, average_decay=0.5)
    optimizer = make_optimizer(config, tf.constant(0.1), step)
    moved = apply(optimizer, [2.0 * x], [x], step)
    train = graph_module.averaged(moved, config, step)
    (average,) = [v for v in tf.global_variables() if v.op.name == "backbone/conv1/weight/average"]
    expected, weights_now = np.zeros(2), np.array([1.0, -2.0])
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        for done in range(15):
            session.run(train)
            weights_now = weights_now * 0.8
            decay = min(0.5, done / (done + 10))
            expected = decay * expected + (1 - decay) * weights_now
            assert session.run(average) == pytest.approx(expected, rel=1e-5), done


def test_loss_scaling_skips_what_overflows_and_goes_on():
    """As torch's GradScaler: an infinite gradient changes nothing but the scale, which it
    halves."""
    x = tf.get_variable("x", initializer=np.float32([1.0]), use_resource=True)
    step = tf.train.get_or_create_global_step()
    scaling = tf.mixed_precision.DynamicLossScale(initial_loss_scale=8.0, increment_period=2)
    gradient = tf.placeholder(tf.float32, [1])
    optimizer = make_optimizer(TrainConfig(optimizer="sgd"), tf.constant(0.5), step)
    train = apply(optimizer, [gradient], [x], step, scaling)
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        seen = []
        for value in (1.0, np.inf, 1.0, 1.0, np.nan):
            session.run(train, {gradient: [value]})
            seen.append((session.run(x)[0], session.run(scaling())))
        moment = next(v for v in tf.global_variables() if "Momentum" in v.name)
        assert session.run(moment)[0] == pytest.approx(0.9 * 1.9 + 1)  # of the three finite ones
        assert session.run(step) == 5
    moved = [0.5, 0.5, 0.5 - 0.95, 0.5 - 0.95 - 0.5 * 2.71, 0.5 - 0.95 - 0.5 * 2.71]
    assert [x for x, _ in seen] == pytest.approx(moved)
    assert [s for _, s in seen] == [8, 4, 4, 8, 4]  # two good ones in a row double it


def test_a_step_in_a_smaller_type_is_the_float32_step_but_for_rounding(monkeypatch):
    shallow.patch(monkeypatch)
    identity = {"zero_init_residual": True}  # rounding is magnified by depth and a batch of four
    exact = one_small_step(**identity)
    for precision, scale, bound in (
        ("bfloat16", 1, 0.95),
        ("float16", 2**15, 0.99),
    ):  # 8 and 11 bits
        rounded = one_small_step(**identity, precision=precision)
        for name in ("cross_entropy", "triplet", "grad_norm"):
            assert getattr(rounded[2], name) == pytest.approx(getattr(exact[2], name), rel=0.03), (
                name
            )
        assert rounded[2].loss_scale == scale
        assert all(
            value.dtype == np.float32 for value in rounded[1].values()
        )  # master weights, statistics
        cosine = cosine_of_updates(rounded, exact)
        print(f"{precision}: the whole update has cosine {cosine:.4f} with float32's")
        assert cosine > bound


def test_a_step_with_winograds_convolutions_is_the_same_step(monkeypatch):
    """From a start at which every convolution counts, unlike above: bfloat16 keeps little of it."""
    shallow.patch(monkeypatch)
    exact, made = one_small_step(), one_small_step(winograd=True)
    for name in ("cross_entropy", "triplet", "grad_norm"):
        assert getattr(made[2], name) == pytest.approx(getattr(exact[2], name), rel=1e-4), name
    assert not np.array_equal(
        made[1]["p2/layer4/0/conv2/weight"], exact[1]["p2/layer4/0/conv2/weight"]
    )
    cosine = cosine_of_updates(made, exact)
    print(f"Winograd: the whole update has cosine {cosine:.6f} with the plain one")
    assert cosine > 0.9999
    rounded = cosine_of_updates(one_small_step(winograd=True, precision="bfloat16"), exact)
    print(f"Winograd in bfloat16: cosine {rounded:.3f}")
    assert rounded > 0.85


@pytest.mark.parametrize(
    ("variant", "optimizer"),
    [
        ("fastreid-v0.1", "sgd"),
        ("fastreid-v0.1", "adam"),
        ("luperson", "sgd"),
        ("luperson", "adam"),
    ],
)
def test_a_step_of_a_variant_is_pytorchs(variant, optimizer):
    """Losses, and where every parameter goes, against the twin, autograd and `torch.optim`.

    One with the recipe `fastreid`'s classifiers and triplets. With fewer blocks, of the same kinds.
    """
    with shallow.patched_with_torch():
        check_a_step(variant, optimizer)


def check_a_step(variant, optimizer):
    """See above."""
    circle = {"classifier": "cosine"} if variant == "fastreid-v0.1" else {}
    options = NetworkOptions(4, height=96, width=32, **VARIANTS[variant], **circle)
    learning_rate = {"sgd": 1e-2, "adam": 1e-4}[optimizer]  # less would not move a power of 3
    tf.set_random_seed(0)
    config = TrainConfig(
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_ids=4,
        batch_images=2,
        height=96,
        width=32,
        variant=variant,
        part_triplets=bool(circle),
        **VARIANTS[variant],
        **circle,
    )
    rng = np.random.default_rng(3)
    batch = rng.standard_normal((8, 96, 32, 3)).astype(np.float32)
    labels = np.repeat(np.arange(4), 2)
    ops = training.build_train_graph(config, tf.constant(batch), tf.constant(labels), 4)
    variables = {v.op.name: v for v in model_variables()}
    trained = {v.op.name for v in tf.trainable_variables()}
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        session.run([v.initializer for v in tf.global_variables()])
        before = session.run(variables)
        figures, _ = session.run([[ops.cross_entropy, ops.triplet], ops.train_op])
        after = session.run(variables)

    # The same step in PyTorch.
    twin = torch_twin(options, before)
    parameters = dict(twin.named_parameters())
    common = {"lr": learning_rate, "weight_decay": config.weight_decay}
    momentum = {"momentum": config.momentum} if optimizer == "sgd" else {}
    makers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    stepper = makers[optimizer](parameters.values(), **common, **momentum)
    _, features, logits = twin(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()))
    targets = torch.from_numpy(labels)
    if circle:
        logits = [circle_logits(each, targets, 64.0, 0.35) for each in logits]
        parts = torch.cat(features[3:5], dim=1), torch.cat(features[5:], dim=1)
        features = [*features[:3], *parts]
    entropies = [torch.nn.functional.cross_entropy(each, targets) for each in logits]
    cross_entropy = torch.stack(entropies).mean()
    mined = features if circle else features[:3]
    triplet = torch.stack([batch_hard(each, targets, config.margin) for each in mined]).mean()
    (cross_entropy + config.triplet_weight * triplet).backward()
    stepper.step()
    assert figures == pytest.approx([cross_entropy.item(), triplet.item()], rel=2e-4)

    # All of a kind of parameter as one vector, so that the powers do not hide behind kernels.
    kinds = {"all": "", "powers": "gem/p", "instance norms": "/IN/", "necks": "/neck/"}
    kinds |= {"before pooling": "extra_bn"}
    for kind, part in kinds.items():
        names = sorted(name for name in trained if part in name)
        if names:
            moved = np.concatenate([(after[n] - before[n]).ravel() for n in names])
            theirs = [to_tf_layout(parameters[mgn_pytorch_key(n)].detach().numpy()) for n in names]
            wanted = zip(names, theirs, strict=True)
            expected = np.concatenate([(value - before[n]).ravel() for n, value in wanted])
            lengths = np.linalg.norm(moved), np.linalg.norm(expected)
            cosine = moved @ expected / np.prod(lengths)
            print(f"{variant}, {optimizer}, {kind}: {cosine:.6f}, {lengths[0] / lengths[1]:.5f}")
            # Adam's first step is a gradient's sign, whatever its size.
            assert cosine >= {"sgd": 0.999, "adam": 0.98}[optimizer]
            assert lengths[0] == pytest.approx(lengths[1], rel=0.01)
    assert ("gem/p" in trained) == (variant == "fastreid-v0.1")


def torch_twin(options, values):
    """`TorchMGN` in training, with the values of the variables."""
    twin = TorchMGN(options.num_classes, **options.architecture()).train()
    tensors = {mgn_pytorch_key(n): torch.from_numpy(to_torch_layout(v)) for n, v in values.items()}
    missing, extra = twin.load_state_dict(tensors, strict=False)
    assert not extra and all(key.endswith("num_batches_tracked") for key in missing)
    return twin


def circle_logits(cosines, labels, scale, margin):
    """Of circle softmax: each cosine weighted by how far it is from its optimum."""
    held = cosines.detach()
    own = (1 + margin - held).relu() * (cosines - (1 - margin))
    other = (held + margin).relu() * (cosines - margin)
    return scale * torch.where(labels[:, None] == torch.arange(cosines.shape[1]), own, other)


def batch_hard(features, labels, margin):
    """The mean over anchors of margin + farthest of the same identity - nearest of another."""
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None]
    farthest = torch.where(same, distances, -torch.inf).amax(dim=1)
    nearest = torch.where(same, torch.inf, distances).amin(dim=1)
    return (margin + farthest - nearest).relu().mean()


def cosine_of_updates(*steps):
    """Of two of `one_small_step`: how all weights move, as one vector each."""
    a, b = (
        np.concatenate([(after[n] - before[n]).ravel() for n in before if "running" not in n])
        for before, after, *_ in steps
    )
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def one_small_step(**options):
    """Take one step on noise; returns (values before, values after, figures of steps 0 and 1)."""
    plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1, "kernel_init": "he"}
    plain |= {
        "zero_init_residual": False,
        "margin": 1.2,
        "warmup_steps": 0,
        "average_decay": 0.0,
        "triplet_start_loss": 0.0,
    }
    config = dataclasses.replace(RECIPES["scratch"], **{**plain, **options})
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        images = tf.constant(rng.normal(size=(4, 96, 32, 3)).astype(np.float32))
        ops = training.build_train_graph(config, images, tf.constant([0, 0, 1, 1]), 2)
        variables = {v.op.name: v for v in model_variables()}
        with new_session(graph, rewrite=False) as session:  # as a run's on a CPU
            session.run([v.initializer for v in tf.global_variables()])
            biases = {name: v for name, v in variables.items() if name.endswith("/bias")}
            assign_some(  # they start at zero, where L2 would not show
                session,
                biases.values(),
                {n: np.full(v.shape.as_list(), 0.5, "f") for n, v in biases.items()},
            )
            before = session.run(variables)
            figures = ops._replace(train_op=ops.total)
            first, _ = session.run([figures, ops.train_op])
            after = session.run(variables)
            second = session.run(figures)
    return before, after, first, second


def test_l2_reaches_every_parameter_and_the_triplet_joins_at_its_step(monkeypatch):
    shallow.patch(monkeypatch)
    losses = {"triplet_start_step": 1, "triplet_weight": 3.0, "cross_entropy_weight": 0.5}
    before, plain, *_ = one_small_step(weight_decay=0, **losses)
    same, decayed, first, second = one_small_step(weight_decay=0.01, **losses)
    assert first.total == pytest.approx(0.5 * first.cross_entropy, rel=1e-6)
    assert second.total == pytest.approx(0.5 * second.cross_entropy + 3 * second.triplet, rel=1e-6)
    assert second.global_step == 1
    for name, start in before.items():
        assert np.array_equal(start, same[name])
        if "running" not in name:  # 0.1 * 0.01 of each parameter, batch-norm scales and biases too
            assert relative(plain[name] - decayed[name] + 1, 0.001 * start + 1) < 1e-5, name
        elif "bn1/running_mean" in name:
            assert not np.array_equal(
                plain[name], start
            )  # statistics move, or they would be ImageNet's for ever


@pytest.mark.parametrize(("fewest", "scale"), [(0, 0), (2, 0), (3, 1)])
def test_blocks_start_as_the_identity_from_so_many_identities_on(monkeypatch, fewest, scale):
    shallow.patch(monkeypatch)
    config = dataclasses.replace(RECIPES["scratch"], zero_init_identities=fewest)
    images = tf.zeros([4, 96, 32, 3])
    training.build_train_graph(config, images, tf.constant([0, 0, 1, 1]), 2)
    scales = [v for v in model_variables() if v.op.name.endswith("bn3/weight")]
    with tf.Session() as session:
        session.run([v.initializer for v in scales])
        for values in session.run(scales):
            assert np.all(values == scale)


def test_batches_hold_the_images_of_pk_batches(dataset):
    split = read_split(dataset, "train")
    labels = labels_of(split.persons)
    config = dataclasses.replace(
        RECIPES["scratch"], batch_ids=4, batch_images=3, seed=5, crop_padding=0, color_jitter=0.0
    )
    made = list(run_dataset(config, split.paths, labels, 0, 5))
    planned = [b for epoch in range(3) for b in pk_batches(labels, 4, 3, 5, epoch)][:5]
    placed = tf.placeholder(tf.uint8, [None, None, 3])
    prepared = normalise(tf.round(resize(placed, config.height, config.width)))
    with tf.Session() as session:
        for (images, got_labels, indices), expected in zip(made, planned, strict=True):
            assert np.array_equal(indices, expected) and np.array_equal(
                got_labels, labels[expected]
            )
            for image, index in zip(images, indices, strict=True):
                plain = session.run(prepared, {placed: read_image(split.paths[index])})
                assert any(np.allclose(image, p, atol=1e-5) for p in (plain, plain[:, ::-1]))


def test_a_batch_does_not_depend_on_where_training_started(dataset):
    split = read_split(dataset, "train")
    labels = labels_of(split.persons)
    config = dataclasses.replace(
        RECIPES["scratch"], batch_ids=3, random_erasing=0.5, crop_padding=3
    )
    whole = list(run_dataset(config, split.paths, labels, 0, 7))
    rest = list(run_dataset(config, split.paths, labels, 4, 7))
    for expected, got in zip(whole[4:], rest, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def run_dataset(config, paths, labels, start, stop):
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(
            training_dataset(config, paths, labels, start, stop)
        )
        following = iterator.get_next()
        with tf.Session() as session:
            session.run(iterator.initializer)
            for _ in range(stop - start):
                yield session.run(following)
            with pytest.raises(tf.errors.OutOfRangeError):
                session.run(following)
