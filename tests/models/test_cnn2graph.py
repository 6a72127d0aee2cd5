"""CNN2Graph's heads and models, held against loops over nodes and the paper's own claims."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quire.models.classifier import ENCODERS
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, CNN2GraphHead
from quire.models.cross_attention import GraphAttention, ProxySet, TransformerAttention
from quire.models.proxy_aggregation import AttentiveAggregation
from quire.models.resnet import resnet20

F, C = 8, 3  # features, classes
ATTENTIVE = [
    CNN2GraphConfig(kind="gnn", heads=4, proxies=2),
    CNN2GraphConfig(kind="gnn", heads=2, aggregate="max", own=False, proxies=2),
    CNN2GraphConfig(kind="gnn", heads=1, aggregate="sum"),
    CNN2GraphConfig(kind="gnn", shared_score=False, slope=0.5),
    CNN2GraphConfig(kind="transformer", heads=4, proxies=2),
    CNN2GraphConfig(kind="transformer", heads=2, aggregate="max"),
    CNN2GraphConfig(kind="transformer", heads=1, own=False, proxies=3),
    CNN2GraphConfig(kind="transformer", heads=2, aggregate="sum", own=False),
]
ISOTROPIC = [
    CNN2GraphConfig(kind="mean", degree=5),
    CNN2GraphConfig(kind="max", proxies=2),
]
CONFIGS = ATTENTIVE + ISOTROPIC


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def a_head(config: CNN2GraphConfig, *, features: int = F) -> CNN2GraphHead:
    """A head in evaluation, in float64."""
    torch.manual_seed(1)
    return CNN2GraphHead(features, C, config).double().eval()


def a_model(config: CNN2GraphConfig) -> CNN2Graph:
    """A small model in evaluation, in float64."""
    torch.manual_seed(1)
    model = CNN2Graph(resnet20(), CNN2GraphHead(64, C, config), mean=[0.4, 0.5, 0.6], std=[0.2])
    return model.double().eval()


def attention_of(head: CNN2GraphHead) -> GraphAttention | TransformerAttention:
    assert isinstance(head.aggregation, AttentiveAggregation)
    return head.aggregation.attention


# The obvious slow way


def slow_weights(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def slow_message(
    head: CNN2GraphHead, x: Tensor, others: Tensor, *, proxies: bool, slope: float
) -> tuple[list[list[float]], Tensor]:
    """What one query receives from one set of nodes: weights by head, and the message."""
    attention = attention_of(head)
    d = F // attention.heads
    weights, received = [], []
    for h in range(attention.heads):
        part = slice(h * d, (h + 1) * d)
        if isinstance(attention, GraphAttention):
            a = attention.score[h if len(attention.score) > 1 else 0]
            values = [(attention.w2.weight @ g)[part] for g in others]
            sums = [(attention.w1.weight @ x)[part] + value for value in values]
            scores = [sum((a * torch.where(z > 0, z, slope * z)).tolist()) for z in sums]
        else:
            key = attention.proxy_key if proxies else attention.anchor_key
            value = attention.proxy_value if proxies else attention.anchor_value
            q = (attention.query.weight @ x)[part]
            scores = [(q @ (key.weight @ g)[part]).item() / math.sqrt(d) for g in others]
            values = [(value.weight @ g)[part] for g in others]
        weights.append(slow_weights(scores))
        received.append(sum(w * v for w, v in zip(weights[-1], values, strict=True)))
    return weights, torch.cat([part for part in received if isinstance(part, Tensor)])


def slow_node(head: CNN2GraphHead, config: CNN2GraphConfig, x: Tensor, anchors: Tensor) -> Tensor:
    """What the aggregation makes of one query."""
    size = len(anchors) + len(head.proxies)
    if config.kind == "mean":
        z = x / (size + 1)
        for g in [*anchors, *head.proxies]:
            z = z + g / math.sqrt(size + 1) / math.sqrt(config.degree + 1)
        return z
    if config.kind == "max":
        nodes = [x, *anchors, *head.proxies]
        return torch.stack([max(node[f] for node in nodes) for f in range(F)])
    parts = [x] if config.own else []
    for others, proxies in [(anchors, False), (head.proxies, True)]:
        parts.append(slow_message(head, x, others, proxies=proxies, slope=config.slope)[1])
    if config.aggregate == "cat":
        return torch.cat(parts)
    pooled = max if config.aggregate == "max" else sum
    return torch.stack([torch.as_tensor(pooled(part[f] for part in parts)) for f in range(F)])


def slow_logits(head: CNN2GraphHead, config: CNN2GraphConfig, x: Tensor, anchors: Tensor) -> Tensor:
    z = slow_node(head, config, x, anchors)
    return head.final.weight @ z + head.final.bias


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("images", "anchors"), [(4, 3), (1, 6), (2, 1)])
def test_a_head_equals_loops_over_nodes(config: CNN2GraphConfig, images: int, anchors: int) -> None:
    head, x, known = a_head(config), normal(images, F), normal(anchors, F, seed=1)
    expected = torch.stack([slow_logits(head, config, image, known) for image in x])
    look = head.look(x, head.prepare(known))
    torch.testing.assert_close(look.logits, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        look.aggregated[0], slow_node(head, config, x[0], known), atol=1e-9, rtol=0
    )
    assert torch.equal(look.embeddings, x)
    assert torch.equal(head(x, head.prepare(known)), look.logits)


@pytest.mark.parametrize("config", CONFIGS)
def test_anchors_and_proxies_are_classified_as_queries_are(config: CNN2GraphConfig) -> None:
    head, x, known = a_head(config), normal(2, F), normal(4, F, seed=1)
    joint = head.joint(x, known)
    sorts = [(joint.images, x), (joint.anchors, known), (joint.proxies, head.proxies)]
    for nodes, own in sorts:
        assert torch.equal(nodes.embeddings, own)
        expected = torch.stack([slow_logits(head, config, node, known) for node in own])
        torch.testing.assert_close(nodes.logits, expected, atol=1e-9, rtol=0)


# What is attended to


@pytest.mark.parametrize("config", ATTENTIVE)
def test_weights_are_those_of_loops_and_sum_to_one_over_anchors_and_over_proxies(
    config: CNN2GraphConfig,
) -> None:
    head, x, known = a_head(config), normal(4, F), normal(5, F, seed=1)
    look = head.look(x, head.prepare(known))
    assert look.anchor_attention.shape == (4, config.heads, 5)
    assert look.proxy_attention.shape == (4, config.heads, C * config.proxies)
    for attention, others in [(look.anchor_attention, known), (look.proxy_attention, head.proxies)]:
        sums = attention.sum(dim=2)
        torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-12, rtol=0)
        assert attention.std(dim=2).min() > 1e-3  # no plain mean
        proxies = others is head.proxies
        slow = slow_message(head, x[1], others, proxies=proxies, slope=config.slope)[0]
        expected = torch.tensor(slow, dtype=torch.float64)
        torch.testing.assert_close(attention[1], expected, atol=1e-9, rtol=0)


def test_what_the_anchors_are_does_not_change_the_weights_over_proxies() -> None:
    """With one softmax over both, it would."""
    for config in ATTENTIVE:
        head, x = a_head(config), normal(4, F)
        few, many = (head.look(x, head.prepare(normal(n, F, seed=n))) for n in (2, 9))
        assert torch.equal(few.proxy_attention, many.proxy_attention)


def test_isotropic_heads_attend_to_nothing() -> None:
    for config in ISOTROPIC:
        look = a_head(config).look(normal(4, F), a_head(config).prepare(normal(5, F, seed=1)))
        assert look.anchor_attention.shape == (4, 0, 5)
        assert look.proxy_attention.shape == (4, 0, C * config.proxies)


def test_one_anchor_and_one_proxy_are_heard_in_full() -> None:
    for config in (replace(ATTENTIVE[0], own=False), replace(ATTENTIVE[4], own=False)):
        head = CNN2GraphHead(F, 1, replace(config, proxies=1)).double()
        known, attention = normal(1, F), attention_of(head)
        if isinstance(attention, GraphAttention):
            to_anchor = to_proxy = attention.w2
        else:
            to_anchor, to_proxy = attention.anchor_value, attention.proxy_value
        received = torch.cat([to_anchor(known), to_proxy(head.proxies)], dim=1)
        combined = head.look(normal(3, F, seed=1), head.prepare(known)).aggregated
        torch.testing.assert_close(combined, received.expand(3, -1))


def test_the_mean_is_plain_where_both_degrees_are_equal() -> None:
    head = a_head(CNN2GraphConfig(kind="mean", degree=5 + C))
    x, known = normal(2, F), normal(5, F, seed=1)
    combined = head.look(x, head.prepare(known)).aggregated
    for image, row in zip(x, combined, strict=True):
        everyone = torch.cat([image[None], known, head.proxies])
        torch.testing.assert_close(row, everyone.mean(dim=0))


def test_the_mean_is_that_of_the_normalised_adjacency_of_the_whole_batch() -> None:
    """Eq. 2 with its matrices, where the batch is as large as the degree says."""
    batch = 4
    head = a_head(CNN2GraphConfig(kind="mean", degree=batch))
    x, known = normal(batch, F), normal(5, F, seed=1)
    nodes = torch.cat([x, head.proxies, known])
    adjacency = torch.eye(len(nodes), dtype=torch.float64)
    adjacency[:batch, batch:] = adjacency[batch:, :batch] = 1
    scale = adjacency.sum(dim=1).rsqrt().diag()
    expected = (scale @ adjacency @ scale @ nodes)[:batch]
    torch.testing.assert_close(head.look(x, head.prepare(known)).aggregated, expected)


# Who knows of whom


@pytest.mark.parametrize("config", CONFIGS)
def test_changing_one_image_leaves_the_others_logits_as_they_were(config: CNN2GraphConfig) -> None:
    model = a_model(config)
    images = normal(3, 3, 8, 8).sigmoid()
    proxy_set = model.prepare(normal(C, 3, 8, 8, seed=1).sigmoid())
    before = model(images, proxy_set)
    images[1] = 1 - images[1]
    after = model(images, proxy_set)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.allclose(after[1], before[1])


@pytest.mark.parametrize("config", CONFIGS)
def test_an_image_alone_has_the_logits_that_it_has_in_a_batch(config: CNN2GraphConfig) -> None:
    head, x = a_head(config), normal(5, F)
    proxy_set = head.prepare(normal(4, F, seed=1))
    alone = torch.cat([head(image[None], proxy_set) for image in x])
    torch.testing.assert_close(head(x, proxy_set), alone, atol=1e-12, rtol=0)
    assert head(x[:0], proxy_set).shape == (0, C)


@settings(max_examples=15)
@given(st.permutations(range(5)), st.permutations(range(6)), st.sampled_from(CONFIGS))
def test_order_does_not_matter(
    images: list[int], anchors: list[int], config: CNN2GraphConfig
) -> None:
    head, x, known = a_head(config), normal(5, F), normal(6, F, seed=1)
    before = head.look(x, head.prepare(known))
    after = head.look(x[images], head.prepare(known[anchors]))
    torch.testing.assert_close(after.logits, before.logits[images], atol=1e-12, rtol=0)
    expected = before.anchor_attention[images][:, :, anchors]
    torch.testing.assert_close(after.anchor_attention, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after.proxy_attention, before.proxy_attention[images])


@pytest.mark.parametrize("config", [replace(config, own=False) for config in ATTENTIVE])
def test_without_its_own_embedding_an_image_still_chooses(config: CNN2GraphConfig) -> None:
    head, x = a_head(config), normal(2, F)
    logits = head(x, head.prepare(normal(4, F, seed=1)))
    assert not torch.allclose(logits[0], logits[1])


def test_without_anchors_the_proxies_are_left() -> None:
    for config in CONFIGS:
        head = a_head(config)
        look = head.look(normal(2, F), head.prepare(normal(0, F)))
        assert look.logits.isfinite().all() and look.anchor_attention.shape[2] == 0


# Training


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients_are_right(config: CNN2GraphConfig) -> None:
    head = a_head(config)

    def logits(x: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        joint = head.joint(x, known)
        return joint.images.logits, joint.anchors.logits, joint.proxies.logits

    given = normal(2, F).requires_grad_(), normal(3, F, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(logits, given)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_weight_learns_proxies_too_and_anchors_are_no_weights(
    config: CNN2GraphConfig,
) -> None:
    head, known = a_head(config).train(), normal(4, F, seed=1).requires_grad_()
    head(normal(5, F), head.prepare(known)).square().sum().backward()  # the images' logits alone
    gradients = [weight.grad for weight in head.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    assert known.grad is not None and known.grad.abs().sum() > 0
    assert not [name for name, _ in head.named_parameters() if "anchors" in name]


def test_images_and_anchors_are_normalised_as_one_batch_in_training() -> None:
    model = a_model(CNN2GraphConfig()).train()
    images, known = normal(3, 3, 8, 8), normal(C, 3, 8, 8, seed=1)
    joint = model.joint(images, known)
    torch.manual_seed(1)
    together = a_model(CNN2GraphConfig()).train().features(torch.cat([images, known]))
    torch.testing.assert_close(joint.images.embeddings, together[:3])
    torch.testing.assert_close(joint.anchors.embeddings, together[3:])
    assert not torch.allclose(together[:3], a_model(CNN2GraphConfig()).train().features(images))


@pytest.mark.parametrize("config", [ATTENTIVE[0], ATTENTIVE[4], *ISOTROPIC])
def test_what_was_prepared_serves_as_training_does_in_evaluation(config: CNN2GraphConfig) -> None:
    model = a_model(config)
    images, known = normal(2, 3, 8, 8), normal(C, 3, 8, 8, seed=1)
    proxy_set = model.prepare(known)
    torch.testing.assert_close(model(images, proxy_set), model.joint(images, known).images.logits)
    assert torch.equal(model.look(images, proxy_set).logits, model(images, proxy_set))
    assert not proxy_set.anchors.values.requires_grad
    given = images.requires_grad_()
    for _ in range(2):  # an attack asks again and again
        (slope,) = torch.autograd.grad(model(given, proxy_set).sum(), given)
        assert slope.abs().sum() > 0


def test_preparing_in_training_mode_is_refused() -> None:
    with pytest.raises(RuntimeError, match="call eval\\(\\) before prepare"):
        a_model(CNN2GraphConfig()).train().prepare(normal(C, 3, 8, 8))


def test_images_are_normalised() -> None:
    model, images = a_model(CNN2GraphConfig()), normal(1, 3, 8, 8)
    mean = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    expected = model.encoder((images - mean) / 0.2)
    torch.testing.assert_close(model.features(images), expected, atol=1e-5, rtol=1e-5)


def test_dropout_is_of_the_weights_and_of_training_alone() -> None:
    config = CNN2GraphConfig(heads=2, dropout=0.4)
    head, x, known = a_head(config), normal(6, F), normal(9, F, seed=1)
    exact = head.look(x, head.prepare(known))
    assert torch.equal(exact.logits, a_head(CNN2GraphConfig(heads=2))(x, head.prepare(known)))
    torch.manual_seed(0)
    drawn = head.train().look(x.repeat(3000, 1), head.prepare(known))
    mean = drawn.aggregated.view(3000, 6, -1).mean(dim=0)
    error = drawn.aggregated.view(3000, 6, -1).std(dim=0) / 3000**0.5
    assert ((mean - exact.aggregated).abs() <= 5 * error + 1e-9).all()
    assert (error[:, :F] < 1e-9).all() and (error[:, F:] > 1e-4).all()  # never of the own
    torch.testing.assert_close(drawn.anchor_attention[:6], exact.anchor_attention)


# Proxies


def test_proxies_start_as_he_et_al_have_it_and_are_assigned_class_by_class() -> None:
    torch.manual_seed(0)
    head = CNN2GraphHead(512, 100, CNN2GraphConfig(proxies=3))
    assert head.proxies.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert head.proxies.mean().item() == pytest.approx(0, abs=1e-3)
    assert head.proxy_labels[:7].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert head.proxy_labels.bincount().tolist() == [3] * 100
    assert "proxy_labels" not in head.state_dict()


# Memory, precision, compilation, sizes


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_less_memory_gives_the_same_weights_and_gradients(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    leaky_relu = torch.nn.functional.leaky_relu

    def counted(sums: Tensor, slope: float) -> Tensor:
        sizes.append(sums.numel())
        return leaky_relu(sums, slope)

    monkeypatch.setattr(torch.nn.functional, "leaky_relu", counted)
    found: list[list[Tensor]] = []
    for at_once in (1 << 26, rows * 3 * F):
        torch.manual_seed(0)
        attention = GraphAttention(F, heads=2, at_once=at_once).double()
        x = normal(7, F).requires_grad_()
        weights = attention(x, attention.prepare(normal(3, F, seed=1), normal(3, F, seed=2)))
        loss = weights[0].square().sum() + weights[1].pow(3).sum()
        found.append([*weights, *torch.autograd.grad(loss, [x, *attention.parameters()])])
    assert sizes[:2] == [7 * 3 * F] * 2 and max(sizes[2:]) == rows * 3 * F
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_bfloat16_autocast_is_close(config: CNN2GraphConfig) -> None:
    head = a_head(config).float()
    x, known = normal(9, F).float(), normal(5, F, seed=1).float()
    exact = head.look(x, head.prepare(known))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head.prepare(known)
        looks = [head.look(x, proxy_set) for proxy_set in (inside, head.prepare(known.bfloat16()))]
        looks.append(head.look(x.bfloat16(), inside))
    looks.append(head.look(x, inside))  # what was prepared serves outside too
    for look in looks:
        torch.testing.assert_close(look.logits.float(), exact.logits, atol=0.05, rtol=0.05)
        for attention in (look.anchor_attention, look.proxy_attention):
            if config in ATTENTIVE:
                assert attention.dtype == torch.float32
                torch.testing.assert_close(attention.sum(dim=2), torch.ones(9, config.heads))


@pytest.mark.parametrize("config", CONFIGS)
def test_weights_may_be_bfloat16_themselves(config: CNN2GraphConfig) -> None:
    head = a_head(config).bfloat16().train()
    joint = head.joint(normal(9, F).bfloat16(), normal(5, F, seed=1).bfloat16())
    joint.images.logits.float().sum().backward()
    assert joint.images.logits.dtype == torch.bfloat16 and joint.images.logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("config", [ATTENTIVE[0], ATTENTIVE[4], ISOTROPIC[0]])
def test_a_step_compiles_as_one_graph(config: CNN2GraphConfig) -> None:
    head, x, known = a_head(config).train(), normal(4, F), normal(5, F, seed=1)
    compiled = torch.compile(head.joint, fullgraph=True, backend="aot_eager")
    logits = compiled(x, known).images.logits
    torch.testing.assert_close(logits, head.joint(x, known).images.logits)
    logits.sum().backward()
    assert head.proxies.grad is not None


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("fields", "attention", "width"),
    [
        ({"kind": "gnn"}, 2 * 512**2 + 128, 3 * 512),
        ({"kind": "gnn", "shared_score": False}, 2 * 512**2 + 512, 3 * 512),
        ({"kind": "gnn", "heads": 1, "own": False}, 2 * 512**2 + 512, 2 * 512),
        ({"kind": "transformer"}, 5 * 512**2, 3 * 512),
        ({"kind": "transformer", "aggregate": "max"}, 5 * 512**2, 512),
        ({"kind": "transformer", "aggregate": "sum", "proxies": 5}, 5 * 512**2, 512),
        ({"kind": "mean"}, 0, 512),
        ({"kind": "max", "proxies": 3}, 0, 512),
    ],
)
def test_sizes(fields: dict[str, Any], attention: int, width: int) -> None:
    classes = 100
    with torch.device("meta"):
        head = CNN2GraphHead(512, classes, CNN2GraphConfig(**fields))
    proxies = fields.get("proxies", 1) * classes * 512
    assert parameters(head) == attention + proxies + width * classes + classes


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_fits(name: str) -> None:
    with torch.device("meta"):
        encoder = ENCODERS[name](1)
        head = CNN2GraphHead(encoder.features, 7, CNN2GraphConfig(heads=1))
    assert head.proxies.shape == (7, encoder.features)
    assert head.final.out_features == 7


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads cannot share 8 features"):
        CNN2GraphHead(8, 2, CNN2GraphConfig(heads=3))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"heads": 0}, "heads is 0; it must be at least 1"),
        ({"proxies": 0}, "proxies is 0; it must be at least 1"),
        ({"degree": -1}, "degree is -1; it must be at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be in \\[0, 1\\)"),
        ({"dropout": math.nan}, "dropout is nan"),
        ({"kind": "gcn"}, "kind is 'gcn'; it must be one of \\('gnn', 'transformer', 'mean'"),
        ({"aggregate": "mean"}, "aggregate is 'mean'; it must be one of \\('cat', 'max', 'sum'\\)"),
        ({"kind": "mean", "own": False}, "own is False; with 'mean' all images would be alike"),
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CNN2GraphConfig(**fields)


def test_a_proxy_set_holds_what_costs_once() -> None:
    """Keys and values are projected in `prepare`, not for every batch."""
    head = a_head(CNN2GraphConfig(heads=2))
    proxy_set = head.prepare(normal(4, F))
    assert isinstance(proxy_set, ProxySet)
    called: list[nn.Module] = []
    for module in head.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, given, made: called.append(module))
    head(normal(2, F), proxy_set)
    attention = attention_of(head)
    assert isinstance(attention, TransformerAttention)
    assert called == [attention.query, head.final]


def test_attention_can_begin_as_likeness() -> None:
    config = CNN2GraphConfig(heads=2, start="similar", proxies=2)
    head = a_head(config)
    features = normal(40, F, seed=3)
    features = 30 * features / features.norm(dim=1, keepdim=True)  # so none is preferred
    proxies = head.proxies.detach().clone()
    head.liken(features)
    attention = head.aggregation.attention
    assert isinstance(attention, TransformerAttention)
    assert torch.equal(attention.anchor_key.weight, attention.query.weight)
    assert torch.equal(head.proxies, proxies)  # they stay as He et al. have them
    ratio = features.norm(dim=1).mean() / proxies.norm(dim=1).mean()
    torch.testing.assert_close(attention.proxy_key.weight, ratio * attention.query.weight)
    # whoever asks attends most to what is like it
    anchors = features[:3]
    look = head.look(anchors + 0.1 * normal(3, F), head.prepare(anchors))
    assert look.anchor_attention.mean(dim=1).argmax(dim=1).tolist() == [0, 1, 2]


def test_likeness_keeps_no_statistics() -> None:
    torch.manual_seed(0)
    encoder = resnet20()
    head = CNN2GraphHead(encoder.features, C, CNN2GraphConfig(start="similar"))
    model = CNN2Graph(encoder, head, mean=(0.5,) * 3, std=(0.25,) * 3).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model.liken(torch.rand(6, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert model.training and encoder.training


@pytest.mark.parametrize("kind", ["gnn", "mean"])
def test_what_has_no_queries_and_keys_cannot_begin_so(kind: Any) -> None:
    with pytest.raises(ValueError, match="has no queries and keys"):
        CNN2GraphConfig(kind=kind, start="similar")
