"""Similarity graphs, held against loops over nodes and the paper's own claims."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quire.models.similarity_graph import (
    AttentionHead,
    CombineMode,
    Concat,
    DropFeatures,
    GraphConfig,
    LinearHead,
    SimilarityGraphHead,
    SimilarityGraphLayer,
    WeightedSum,
    adjacency,
    nearest,
)

COMBINATIONS: dict[CombineMode, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda own, neigh: torch.cat([own, neigh]),
    "sum": lambda own, neigh: 0.2 * own + 0.8 * neigh,
    "dropfeat": lambda own, neigh: 0.3 * own + 0.7 * neigh,  # in evaluation
}
KINDS = list(itertools.product(COMBINATIONS, [False, True]))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def graph_head(features: int, classes: int, **fields: Any) -> SimilarityGraphHead:
    """A small head in evaluation, in float64, with weights of 0.2 and 0.3 for own features."""
    sizes: dict[str, Any] = {"k": 3, "width": 16, "head_width": 5, "score_width": 8}
    config = GraphConfig(**{**sizes, "beta": 0.2, "p": 0.3, **fields})
    torch.manual_seed(1)
    return SimilarityGraphHead(features, classes, config).double().eval()


def layer_of(head: SimilarityGraphHead) -> SimilarityGraphLayer:
    layer = head.layers[0]
    assert isinstance(layer, SimilarityGraphLayer)
    return layer


def slow_neighbours(nodes: Tensor, i: int, k: int) -> list[int]:
    def cosine(j: int) -> float:
        dot = (nodes[i] * nodes[j]).sum()
        return (dot / nodes[i].square().sum().sqrt() / nodes[j].square().sum().sqrt()).item()

    others = [j for j in range(len(nodes)) if j != i]
    return sorted(others, key=cosine, reverse=True)[:k]


def slow_scores(head: nn.Module, nodes: Tensor, i: int, neighbours: list[int]) -> list[float]:
    assert isinstance(head, AttentionHead)
    first, _, last = head.score
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    scores = []
    for j in neighbours:
        z = (head.project.weight @ nodes[i] - head.project.weight @ nodes[j]).abs()
        hidden = (first.weight @ z + first.bias).clamp(min=0)
        scores.append((last.weight @ hidden + last.bias).item())
    return scores


def slow_node(layer: nn.Module, nodes: Tensor, i: int, combine: CombineMode) -> Tensor:
    """What a layer makes of one node, neighbour by neighbour."""
    assert isinstance(layer, SimilarityGraphLayer)
    projected = [layer.linear.weight @ node + layer.linear.bias for node in nodes]
    neighbours = slow_neighbours(nodes, i, layer.k)
    neigh = torch.zeros_like(projected[i])
    for j in neighbours if not layer.heads else []:
        neigh += projected[j] / len(neighbours)
    for head in layer.heads:
        scores = slow_scores(head, nodes, i, neighbours)
        total = sum(math.exp(score) for score in scores)
        for j, score in zip(neighbours, scores, strict=True):
            neigh += math.exp(score) / total * projected[j] / len(layer.heads)
    return COMBINATIONS[combine](projected[i], neigh)


def slow_head(head: SimilarityGraphHead, nodes: Tensor, combine: CombineMode) -> Tensor:
    readout = []
    for layer in head.layers:
        rows = [slow_node(layer, nodes, i, combine) for i in range(len(nodes))]
        nodes = torch.stack(rows).clamp(min=0)
        readout.append(nodes)
    return torch.cat(readout, dim=1) @ head.final.weight.T


# The graph


@given(st.integers(0, 9), st.integers(1, 4), st.integers(0, 12), st.integers(0, 99))
def test_neighbours_are_the_most_similar_others(size: int, width: int, k: int, seed: int) -> None:
    nodes = normal(size, width, seed=seed)
    found = nearest(nodes, k=k)
    assert found.shape == (size, min(k, max(0, size - 1)))
    unit = nodes / nodes.norm(dim=1, keepdim=True)
    for i, row in enumerate(found.tolist()):
        assert i not in row and len(set(row)) == len(row)
        cosines = [(unit[i] @ unit[j]).item() for j in row]
        assert cosines == sorted(cosines, reverse=True)  # in one dimension they are all +-1
        rest = [(unit[i] @ unit[j]).item() for j in range(size) if j != i and j not in row]
        assert not row or max(rest, default=-2) <= cosines[-1] + 1e-12


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 7), st.integers(0, 99))
def test_neighbours_in_a_context_are_those_of_a_graph_with_it(
    queries: int, context: int, k: int, seed: int
) -> None:
    asking, around = normal(queries, 3, seed=seed), normal(context, 3, seed=seed + 100)
    found = nearest(asking, around, k=k)
    assert found.shape == (queries, min(k, context))
    for query, row in zip(asking, found, strict=True):
        together = nearest(torch.cat([query[None], around]), k=k)
        assert torch.equal(row, together[0] - 1)


def test_length_does_not_count_and_a_twin_is_the_best_neighbour() -> None:
    nodes = torch.tensor([[1.0, 0.0], [9.0, 9.0], [1e-3, 0.0], [1.0, 0.0]])
    assert set(nearest(nodes, k=2)[0].tolist()) == {2, 3}


def test_zero_features_have_neighbours_and_no_nan() -> None:
    nodes = torch.cat([torch.zeros(2, 3), torch.randn(3, 3)])
    assert nearest(nodes, k=9).sort().values.tolist()[0] == [1, 2, 3, 4]
    head = SimilarityGraphHead(3, 2, GraphConfig(k=2, attention=True))
    assert head(nodes).isfinite().all()


def test_a_choice_is_not_mutual() -> None:
    degrees = torch.tensor([0.0, 10.0, 30.0])  # 0 and 1 choose each other; 2 chooses 1
    angles = degrees.deg2rad()
    layer = SimilarityGraphLayer(2, 2, k=1, combine=Concat())
    graph = layer.adjacency(torch.stack([angles.cos(), angles.sin()], dim=1))
    assert graph.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]


def test_adjacency_has_rows_of_nothing_without_neighbours() -> None:
    graph = adjacency(torch.empty(2, 0, dtype=torch.int64), torch.empty(2, 0), 3)
    assert torch.equal(graph, torch.zeros(2, 3))


@pytest.mark.parametrize("heads", [0, 1, 3])
@pytest.mark.parametrize(("size", "k"), [(7, 3), (4, 16), (7, 1), (5, 0), (1, 3)])
def test_rows_weigh_k_neighbours_and_sum_to_one(size: int, k: int, heads: int) -> None:
    torch.manual_seed(0)
    made = [AttentionHead(5, 4, score_width=8) for _ in range(heads)]
    layer = SimilarityGraphLayer(5, 2, k=k, combine=Concat(), heads=made).double()
    graph = layer.adjacency(normal(size, 5))
    chosen = min(k, size - 1)
    assert (graph != 0).sum(dim=1).tolist() == [chosen] * size
    assert graph.diagonal().tolist() == [0] * size
    torch.testing.assert_close(graph.sum(dim=1), torch.full((size,), min(1.0, chosen)).double())
    if heads and chosen > 1:
        assert graph[0][graph[0] > 0].unique().numel() > 1  # attention is not a plain mean


# A layer, and heads of several


@pytest.mark.parametrize(("combine", "attention"), KINDS)
@pytest.mark.parametrize(("size", "k"), [(7, 3), (4, 16), (6, 5), (5, 0), (1, 3), (2, 1)])
def test_a_layer_equals_loops_over_nodes(
    combine: CombineMode, attention: bool, size: int, k: int
) -> None:
    layer = layer_of(graph_head(5, 3, k=k, combine=combine, attention=attention))
    nodes = normal(size, 5)
    expected = torch.stack([slow_node(layer, nodes, i, combine) for i in range(size)])
    torch.testing.assert_close(layer(nodes), expected)


@pytest.mark.parametrize(("combine", "attention"), KINDS)
@pytest.mark.parametrize("layers", [1, 3])
def test_a_head_equals_loops_with_a_graph_for_each_layer(
    combine: CombineMode, attention: bool, layers: int
) -> None:
    head = graph_head(5, 3, layers=layers, combine=combine, attention=attention)
    nodes = normal(8, 5)
    torch.testing.assert_close(head(nodes), slow_head(head, nodes, combine))
    if layers > 1:  # the test would not notice one graph for all layers if they were alike
        later = layer_of(head)(nodes).relu()
        assert not torch.equal(nearest(nodes, k=3).sort().values, nearest(later, k=3).sort().values)


def test_several_graphs_at_once_are_each_on_its_own() -> None:
    layer = layer_of(graph_head(5, 3, attention=True))
    graphs = normal(2, 6, 5)
    torch.testing.assert_close(layer(graphs), torch.stack([layer(graph) for graph in graphs]))


@settings(max_examples=20)
@given(st.permutations(range(6)))
def test_the_order_of_a_gathered_batch_does_not_matter(order: list[int]) -> None:
    head = graph_head(5, 3, layers=2, attention=True)
    nodes = normal(6, 5)
    torch.testing.assert_close(head(nodes[order]), head(nodes)[order])


def test_the_mean_of_equal_neighbours_is_their_value_however_many_there_are() -> None:
    layer = SimilarityGraphLayer(3, 3, k=16, combine=WeightedSum(0.0))
    nodes = torch.tensor([1.0, 2.0, -1.0]).expand(4, 3)
    torch.testing.assert_close(layer(nodes), layer.linear(nodes))


@pytest.mark.parametrize("attention", [False, True])
def test_without_neighbours_the_rest_of_the_head_stays(attention: bool) -> None:
    head = graph_head(5, 3, k=0, attention=attention, p=0.5)
    nodes = normal(4, 5)
    own = layer_of(head).linear(nodes)
    torch.testing.assert_close(head(nodes), head.final((0.5 * own).relu()))


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_batch_and_a_lone_image_have_logits_and_a_gradient_for_every_weight(
    size: int, attention: bool
) -> None:
    head = graph_head(5, 3, attention=attention).train()
    logits = head(normal(size, 5))
    assert logits.shape == (size, 3)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_a_perturbation_shrinks_by_the_number_of_neighbours() -> None:
    """Proposition 1: with a self-loop and no ReLU, Δy = Δy_sup / (k + 1)."""
    k = 3
    layer = SimilarityGraphLayer(8, 4, k=k, combine=WeightedSum(1 / (k + 1))).double()
    query, context, step = normal(1, 8), normal(9, 8, seed=1), 1e-3 * normal(1, 8, seed=2)
    before, after = torch.cat([query, context]), torch.cat([query + step, context])
    assert torch.equal(nearest(before, k=k)[0], nearest(after, k=k)[0])
    change = layer(after)[0] - layer(before)[0]
    supervised = layer.linear(query + step)[0] - layer.linear(query)[0]
    torch.testing.assert_close(
        change / supervised, torch.full_like(change, 0.25), atol=1e-9, rtol=0
    )


# Drop features


def test_dropped_features_are_weighed_in_evaluation() -> None:
    own, neigh = normal(4, 5), normal(4, 5, seed=1)
    combine = DropFeatures(0.3).eval()
    torch.testing.assert_close(combine(own, neigh), 0.3 * own + 0.7 * neigh)


@pytest.mark.parametrize("granularity", ["element", "node"])
def test_what_training_draws_has_the_mean_that_evaluation_uses(granularity: str) -> None:
    layer = layer_of(graph_head(5, 3, granularity=granularity))
    nodes, draws = normal(6, 5), 4000
    expected = layer(nodes)
    torch.manual_seed(0)
    drawn = layer.train()(nodes.expand(draws, 6, 5))
    error = drawn.std(dim=0) / draws**0.5
    assert (error > 0).all()
    assert ((drawn.mean(dim=0) - expected).abs() < 5 * error).all()
    from_own = drawn.isclose(layer.linear(nodes)).double().mean(dim=2)  # what share of each node
    whole = ((from_own == 0) | (from_own == 1)).double().mean().item()
    assert whole == 1 if granularity == "node" else whole < 0.1


def test_training_draws_for_each_number_or_for_each_node() -> None:
    own, neigh = torch.ones(50, 40), torch.zeros(50, 40)
    torch.manual_seed(0)
    by_element = DropFeatures(0.3)(own, neigh)
    by_node = DropFeatures(0.3, granularity="node")(own, neigh)
    assert 0.2 < by_element.mean() < 0.4
    assert ((by_element.mean(dim=1) > 0) & (by_element.mean(dim=1) < 1)).all()
    assert set(by_node.mean(dim=1).tolist()) == {0.0, 1.0}
    assert not torch.equal(DropFeatures(0.3)(own, neigh), by_element)


@pytest.mark.parametrize("granularity", ["element", "node"])
def test_probabilities_of_zero_and_one_are_certain(granularity: Any) -> None:
    own, neigh = torch.randn(9, 8), torch.randn(9, 8)
    assert torch.equal(DropFeatures(1.0, granularity=granularity)(own, neigh), own)
    assert torch.equal(DropFeatures(0.0, granularity=granularity)(own, neigh), neigh)


# Gradients


@pytest.mark.parametrize(("combine", "attention"), KINDS)
def test_gradients_are_those_of_a_fixed_graph(combine: CombineMode, attention: bool) -> None:
    head = graph_head(4, 2, layers=2, combine=combine, attention=attention)
    assert torch.autograd.gradcheck(head, normal(5, 4).requires_grad_())


def test_a_node_learns_through_those_that_chose_it_and_not_through_the_choice() -> None:
    nodes = normal(6, 4).requires_grad_()
    chosen = nearest(nodes, k=2)
    assert not chosen.requires_grad
    layer = SimilarityGraphLayer(4, 3, k=2, combine=WeightedSum(0.0)).double()
    layer(nodes)[0].sum().backward()
    assert nodes.grad is not None
    reached = nodes.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert reached == sorted(chosen[0].tolist())


def test_every_weight_learns_but_the_one_that_a_softmax_cannot_see() -> None:
    head = graph_head(5, 3, layers=2, attention=True, combine="concat", score_width=16)
    head(normal(8, 5)).square().sum().backward()
    gradients = {name: weight.grad for name, weight in head.named_parameters()}
    still = {name for name, g in gradients.items() if g is None or g.abs().max() < 1e-12}
    assert still == {f"layers.{i}.heads.{n}.score.2.bias" for i in range(2) for n in range(3)}


# One query among a context


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("combine", "attention"), KINDS)
def test_a_query_gets_what_it_would_get_alone(
    combine: CombineMode, attention: bool, layers: int
) -> None:
    head = graph_head(5, 3, layers=layers, combine=combine, attention=attention)
    queries, context = normal(7, 5), normal(6, 5, seed=1)
    alone = [head(torch.cat([query[None], context]))[0] for query in queries]
    for rows in (1, 15, 8192):
        found = head.transductive(queries, context, rows=rows)
        torch.testing.assert_close(found, torch.stack(alone), atol=1e-12, rtol=0)


def test_float32_agrees_to_a_millionth_at_the_paper_sizes() -> None:
    torch.manual_seed(0)
    head = SimilarityGraphHead(64, 10, GraphConfig(attention=True)).eval()
    queries, context = torch.randn(5, 64), torch.randn(255, 64)
    alone = [head(torch.cat([query[None], context]))[0] for query in queries]
    found = head.transductive(queries, context)
    torch.testing.assert_close(found, torch.stack(alone), atol=1e-6, rtol=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_no_more_rows_than_asked_for_are_computed_at_a_time(layers: int) -> None:
    head = graph_head(5, 3, layers=layers)
    sizes: list[int] = []
    for layer in head.layers:
        layer.register_forward_pre_hook(lambda _, given: sizes.append(given[0][..., 0].numel()))
    head.transductive(normal(20, 5), normal(6, 5), rows=16)
    assert max(sizes) == (16 if layers == 1 else 14)  # two graphs of seven


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("attention", [False, True])
def test_queries_do_not_see_each_other(attention: bool, layers: int) -> None:
    head = graph_head(5, 3, layers=layers, attention=attention)
    queries, context = normal(4, 5), normal(6, 5, seed=1)
    others = torch.cat([queries[:1], queries[:1].expand(2, 5) + 1e-3, 1e3 * normal(1, 5, seed=2)])
    found = head.transductive(queries, context)[0]
    torch.testing.assert_close(head.transductive(others, context)[0], found, atol=1e-12, rtol=0)
    assert not torch.allclose(head(queries)[0], head(others)[0])  # in one graph they do


def test_from_the_second_layer_on_the_context_knows_of_the_query() -> None:
    """The tests above would be idle if the context's own features were always the same."""
    head = graph_head(5, 3, layers=2, k=5)
    queries, context = normal(4, 5), normal(6, 5, seed=1)
    first, second = head.layers
    received = first(context).relu()  # the context without any query
    own = first(queries, context).relu()
    shortcut = head.final(torch.cat([own, second(own, received).relu()], dim=1))
    assert not torch.allclose(head.transductive(queries, context), shortcut, atol=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("queries", "context"), [(0, 4), (3, 0), (2, 1)])
def test_few_queries_and_a_small_context(queries: int, context: int, layers: int) -> None:
    head = graph_head(5, 3, layers=layers, attention=True)
    asking, around = normal(queries, 5), normal(context, 5, seed=1)
    found = head.transductive(asking, around)
    assert found.shape == (queries, 3)
    for query, logits in zip(asking, found, strict=True):
        torch.testing.assert_close(logits, head(torch.cat([query[None], around]))[0])


def test_a_gradient_reaches_the_queries() -> None:
    head = graph_head(5, 3)
    context = normal(6, 5, seed=1)

    def logits(queries: Tensor) -> Tensor:
        return head.transductive(queries, context)

    assert torch.autograd.gradcheck(logits, normal(3, 5).requires_grad_())


def test_training_mode_is_refused() -> None:
    head = graph_head(5, 3).train()
    with pytest.raises(RuntimeError, match="call eval\\(\\) before transductive"):
        head.transductive(normal(1, 5), normal(4, 5))


def test_the_baseline_looks_at_nothing_else() -> None:
    head = LinearHead(5, 3).double()
    nodes = normal(4, 5)
    torch.testing.assert_close(head(nodes), nodes @ head.final.weight.T + head.final.bias)
    assert torch.equal(head.transductive(nodes, normal(6, 5)), head(nodes))


# Precision, compilation, sizes


@pytest.mark.parametrize(("combine", "attention"), KINDS)
def test_bfloat16_autocast_is_close(combine: CombineMode, attention: bool) -> None:
    head = graph_head(8, 3, combine=combine, attention=attention).float()
    nodes = normal(9, 8).float()
    exact = head(nodes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chosen, graph, logits = nearest(nodes, k=3), layer_of(head).adjacency(nodes), head(nodes)
        alone = head.transductive(nodes[:2], nodes[2:])
    assert torch.equal(chosen, nearest(nodes, k=3))
    assert graph.dtype == torch.float32 and logits.dtype == torch.bfloat16
    torch.testing.assert_close(graph.sum(dim=1), torch.ones(9))
    torch.testing.assert_close(logits.float(), exact, atol=0.03, rtol=0.03)
    exactly_alone = head.transductive(nodes[:2], nodes[2:])
    torch.testing.assert_close(alone.float(), exactly_alone, atol=0.03, rtol=0.03)


def test_neighbours_are_as_sharp_in_half_precision_as_the_features_are() -> None:
    """Cosines of 0.9999 and 0.9995 are one number in bfloat16."""
    nodes = torch.tensor([[1.0, 0.0], [1.0, 2**-5], [1.0, 2**-6]])
    assert nearest(nodes.bfloat16(), k=1)[0].tolist() == [2]


@pytest.mark.parametrize("attention", [False, True])
def test_weights_may_be_bfloat16_themselves(attention: bool) -> None:
    head = graph_head(8, 3, attention=attention).bfloat16().train()
    logits = head(normal(9, 8).bfloat16())
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "attention"),
    [  # the first traces the graph and its gradient, and takes them as they are
        ("aot_eager", True),
        pytest.param("inductor", False, marks=pytest.mark.slow),
        pytest.param("inductor", True, marks=pytest.mark.slow),
    ],
)
def test_a_head_compiles_as_one_graph(backend: str, attention: bool) -> None:
    head = graph_head(8, 3, attention=attention).float()
    nodes = normal(9, 8).float()
    expected = head(nodes)
    head.compile(fullgraph=True, backend=backend)
    torch.testing.assert_close(head(nodes), expected)
    head.train()
    head(nodes).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("attention", [False, True])
def test_sizes_with_the_defaults(attention: bool) -> None:
    def parameters(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    scores = 128 * 64 + 64 + 64 + 1
    first = 2048 * 512 + 512 + attention * 3 * (2048 * 128 + scores)
    second = 1024 * 512 + 512 + attention * 3 * (1024 * 128 + scores)  # of what is concatenated
    one = GraphConfig(attention=attention)
    two = GraphConfig(attention=attention, layers=2, combine="concat")
    with torch.device("meta"):
        assert parameters(LinearHead(2048, 10)) == 20_490
        assert parameters(SimilarityGraphHead(2048, 10, one)) == first + 512 * 10
        assert parameters(SimilarityGraphHead(2048, 10, two)) == first + second + 2 * 1024 * 10


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("k", -1, "at least 0"),
        ("layers", 0, "at least 1"),
        ("heads", 0, "at least 1"),
        ("beta", 1.5, "in \\[0, 1\\]"),
        ("p", -0.1, "in \\[0, 1\\]"),
        ("p", math.nan, "in \\[0, 1\\]"),
        ("combine", "mean", "one of \\('concat', 'sum', 'dropfeat'\\)"),
        ("granularity", "batch", "one of \\('element', 'node'\\)"),
    ],
)
def test_a_value_out_of_range_is_refused(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*{value}.*; it must be {wanted}"):
        GraphConfig(**{field: value})
