import copy
import itertools
import math
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quire.loaders.draws import Draws
from quire.train.attacks.evolution import Evolution
from quire.train.attacks.one_pixel import Pixels, Shape, one_pixel, with_pixel
from quire.train.attacks.targets import Alone
from tests.train.attacks.small import Linear, Whole, linear, moody, often, pictures, sparse

STRONG = Evolution(population=200, generations=60)
SHORT = Evolution(population=7, generations=5, seed=2)


@dataclass(frozen=True)
class Task:
    """Models and the images to attack, some of which are hard."""

    models: Linear
    images: Tensor
    labels: Tensor
    rows: Tensor


def task(*, members: int = 3, shape: Shape = (1, 5, 6), images: int = 8, classes: int = 3) -> Task:
    models = linear(members, math.prod(shape), classes, seed=0, scale=0.5)
    inside = pictures(images, *shape)
    labels = models(inside.expand(members, *inside.shape)).argmax(-1).mode(0).values
    return Task(models, inside, labels, 100 + 3 * torch.arange(images))


def attack(task: Task, evolution: Evolution = STRONG, **rest: Any) -> Pixels:
    run = partial(one_pixel, task.models, task.images, task.labels, task.rows)
    return run(evolution=evolution, **rest)


def equal(one: Pixels, other: Pixels) -> bool:
    return all(
        torch.equal(mine.nan_to_num(-1), yours.nan_to_num(-1))
        for mine, yours in zip(astuple(one), astuple(other), strict=True)
    )


def feasible(task: Task) -> Tensor:
    """Whether any pixel fools, tried out: another class is furthest ahead at a corner."""
    channels, height, width = task.images.shape[1:]
    found = torch.zeros(len(task.models), len(task.images), dtype=torch.bool)
    for column, row in itertools.product(range(width), range(height)):
        for corner in itertools.product([0.0, 1.0], repeat=channels):
            place = torch.tensor([[column, row]]).expand(len(task.images), 2)
            value = torch.tensor([corner]).expand(len(task.images), -1)
            moved = with_pixel(task.images, place, value, shape=(channels, height, width))
            found |= logits(task.models, moved).argmax(-1) != task.labels
    return found


@torch.no_grad()
def logits(models: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = models(images.expand(3, *images.shape))
    return found


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 4)])
def test_exactly_the_images_that_can_be_fooled_are(shape: Shape) -> None:
    given = task(shape=shape, images=25, classes=2)
    found = attack(given, Evolution(population=300, generations=60))
    correct = logits(given.models, given.images).argmax(-1) == given.labels
    assert torch.equal(found.correct, correct)
    assert torch.equal(found.fooled, feasible(given) & correct)
    assert 5 < found.fooled.sum() < found.correct.sum() - 5 and found.correct.sum() < 70


def test_nothing_else_is_with_more_classes() -> None:
    # What is least like its label may still be classified as it, so one can be missed.
    given = task(images=25)
    found, possible = attack(given), feasible(given)
    assert not (found.fooled & ~possible).any()
    assert (found.correct & possible & ~found.fooled).sum() <= 1


def test_what_is_found_is_one_pixel_that_fools() -> None:
    given = task(shape=(2, 4, 5), images=20)
    found = attack(given)
    assert found.generation.max() > 2
    for member, image in found.fooled.nonzero().tolist():
        column, row = found.place[member, image].tolist()
        value = found.value[member, image]
        assert 0 <= column < 5 and 0 <= row < 4 and 0 <= value.min() and value.max() <= 1
        after = given.images[image].clone()
        after[:, row, column] = value
        p = logits(given.models, after[None])[member, 0].softmax(0)
        assert p.argmax() != given.labels[image]
        torch.testing.assert_close(found.confidence[member, image], p.max())
        with_it = with_pixel(
            given.images[[image]], found.place[member, [image]], value[None], shape=(2, 4, 5)
        )
        assert torch.equal(with_it[0], after)
        assert (with_it[0] != given.images[image]).any(0).sum() == 1
    for nothing in (found.confidence, found.value[..., 0], found.value[..., 1]):
        assert torch.equal(nothing.isnan(), ~found.fooled)
    for nothing in (found.generation, found.place[..., 0], found.place[..., 1]):
        assert torch.equal(nothing == -1, ~found.fooled)
    outcome = found.outcome()
    assert torch.equal(outcome.fooled, found.fooled.sum(1))
    torch.testing.assert_close(outcome.mean[0], found.confidence[0][found.fooled[0]].mean())


class Slow:
    """The attack on one image of one model, candidate by candidate, as the papers say it."""

    def __init__(self, given: Task, evolution: Evolution, member: int, image: int) -> None:
        self.evolution, self.member = evolution, member
        self.models, self.label = given.models, int(given.labels[image])
        self.image, self.key = given.images[image], member << 32 | int(given.rows[image])
        self.channels, self.height, self.width = given.images.shape[1:]

    def draws(self, generation: int, purpose: str, count: int) -> list[float]:
        keys = torch.tensor([self.key])
        drawn = Draws(self.evolution.seed, generation, keys).uniforms(f"one pixel {purpose}", count)
        numbers: list[float] = drawn[0].tolist()
        return numbers

    def first(self) -> list[list[np.float32]]:
        size = self.evolution.population
        where, values = self.draws(0, "places", 2 * size), self.draws(0, "values", 9 * size)
        population = []
        for number in range(size):
            column = np.float32(where[2 * number]) * np.float32(self.width)
            row = np.float32(where[2 * number + 1]) * np.float32(self.height)
            genes = [column, row]
            for draw in values[self.channels * number :][: self.channels]:
                normal = torch.special.ndtri(
                    torch.tensor(draw + 2**-25, dtype=torch.float64)
                ).item()
                genes.append(np.float32(min(max(128 + 127 * normal, 0), 255) / 255))
            population.append(genes)
        return population

    def mutant(
        self, population: list[list[np.float32]], best: int, number: int, generation: int
    ) -> list[np.float32]:
        low, high = self.evolution.mutation
        (draw,) = self.draws(generation, "scale", 1)
        scale = np.float32(low + np.float32(high - low) * np.float32(draw))
        pair = self.draws(generation, "partners", 2 * len(population))[2 * number :][:2]
        others = [index for index in range(len(population)) if index != number]
        one = others.pop(int(pair[0] * len(others)))
        other = others[int(pair[1] * len(others))]
        tops = [self.width, self.height] + [1] * self.channels
        anew = self.draws(generation, "anew", len(tops) * len(population))[number * len(tops) :]
        genes = []
        for gene, top in enumerate(tops):
            difference = population[one][gene] - population[other][gene]
            mutant = population[best][gene] + scale * difference
            inside = 0 <= mutant <= top
            genes.append(mutant if inside else np.float32(anew[gene]) * np.float32(top))
        return genes

    def judge(self, genes: list[np.float32]) -> tuple[float, bool, tuple[object, ...]]:
        """Eq. 3's fitness 1 - p, whether it is misclassified, and what to tell of it."""
        column, row = min(int(genes[0]), self.width - 1), min(int(genes[1]), self.height - 1)
        changed = self.image.clone()
        for channel, value in enumerate(genes[2:]):
            changed[channel, row, column] = float(value)
        every = changed[None, None].expand(len(self.models), 1, *changed.shape)
        p = self.models(every)[self.member, 0].softmax(0)
        values = [float(value) for value in genes[2:]]
        told = ([column, row], values, pytest.approx(p.max().item()))
        return 1 - p[self.label].item(), int(p.argmax()) != self.label, told

    def attack(self) -> tuple[object, ...] | None:
        """(generation, place, values, confidence), or None if nothing fools."""
        population = trial = self.first()
        fitness = [-math.inf] * len(population)
        for generation in range(self.evolution.generations + 1):
            if generation:
                best = max(range(len(fitness)), key=fitness.__getitem__)
                trial = [
                    self.mutant(population, best, number, generation)
                    for number in range(len(population))
                ]
            judged = [self.judge(genes) for genes in trial]
            if any(wrong for _, wrong, _ in judged):
                _, told = max((fit, told) for fit, wrong, told in judged if wrong)
                return (generation, *told)
            better = [fit >= old for (fit, _, _), old in zip(judged, fitness, strict=True)]
            choices = zip(better, trial, population, strict=True)
            population = [new if yes else old for yes, new, old in choices]
            fitness = [max(fit, old) for (fit, _, _), old in zip(judged, fitness, strict=True)]
        return None


@pytest.mark.parametrize("shape", [(1, 5, 6), (2, 4, 4)])
@torch.no_grad()
def test_it_is_the_slow_attack_on_each_image_alone(shape: Shape) -> None:
    given = task(shape=shape, members=2, images=8)
    found = attack(given, SHORT)
    generations = set()
    for member, image in found.correct.nonzero().tolist():
        told = Slow(given, SHORT, member, image).attack()
        assert (told is not None) == bool(found.fooled[member, image])
        if told is None:
            continue
        generations.add(told[0])
        assert told == (
            found.generation[member, image].item(),
            found.place[member, image].tolist(),
            found.value[member, image].tolist(),
            found.confidence[member, image].item(),
        )
    assert not found.fooled[found.correct].all()
    assert len(generations) > 1


def test_an_image_is_attacked_the_same_in_any_batch() -> None:
    given = task()
    whole = attack(given, SHORT)
    order = torch.tensor([5, 0, 3, 7])
    images = Task(given.models, given.images[order], given.labels[order], given.rows[order])
    some = attack(images, SHORT)
    assert equal(some, Pixels(*(part[:, order] for part in astuple(whole))))
    members = [2, 0]
    models = Task(given.models.some(members), given.images, given.labels, given.rows)
    fewer = attack(models, SHORT, numbers=torch.tensor(members))
    assert equal(fewer, Pixels(*(part[members] for part in astuple(whole))))
    assert not equal(attack(models, SHORT), fewer)
    assert not equal(attack(given, Evolution(population=7, generations=5, seed=3)), whole)


@pytest.mark.parametrize("chunk", [1, 10, 100])
def test_no_more_images_are_seen_at_once_than_said(chunk: int) -> None:
    given = task()
    whole = attack(given, SHORT)
    assert given.models.largest > 100
    given.models.largest = 0
    assert equal(attack(given, SHORT, chunk=chunk), whole)
    assert given.models.largest <= max(chunk, given.images.shape[0] * 3)


def test_what_is_done_costs_nothing_more() -> None:
    given = task(members=1, images=40)
    given.models.seen = 0
    found = attack(given, SHORT)
    generations = int(found.generation[found.fooled].add(1).sum())
    withstood = int(found.outcome().withstood)
    assert withstood > 0 and found.generation.max() > 1
    assert given.models.seen == 40 + 7 * (generations + 6 * withstood)


def test_a_network_is_attacked_the_same_alone_and_among_others() -> None:
    models, images = sparse(), pictures(6, 12)
    labels, rows = often(models, images), torch.arange(6)
    shape = (1, 3, 4)
    found = one_pixel(models, images, labels, rows, shape=shape, evolution=SHORT)
    assert 0 < found.fooled.sum() < found.correct.sum()
    for member in range(3):
        alone = one_pixel(
            Alone(nn.Sequential(nn.Flatten(), models.member(member))),
            images.view(6, *shape),
            labels,
            rows,
            numbers=torch.tensor([member]),
            evolution=SHORT,
        )
        for mine, others in zip(astuple(alone), astuple(found), strict=True):
            torch.testing.assert_close(mine[0], others[member], equal_nan=True)


def test_nothing_is_left_behind() -> None:
    models = moody()
    images, labels = pictures(6, 3, 2, 2), torch.arange(6) % 3
    before, modes = copy.deepcopy(models), [part.training for part in models.modules()]
    first, again = (
        one_pixel(models, images, labels, torch.arange(6), evolution=SHORT) for _ in range(2)
    )
    assert equal(first, again)  # no dropout
    assert torch.equal(images, pictures(6, 3, 2, 2))
    assert all(parameter.grad is None for parameter in models.parameters())
    assert [part.training for part in models.modules()] == modes
    for key, value in before.state_dict().items():
        assert torch.equal(models.state_dict()[key], value)


@pytest.mark.parametrize("images", [0, 3])
def test_where_all_is_wrong_there_is_nothing_to_search(images: int) -> None:
    models = Linear(torch.zeros(2, 12, 2), torch.tensor([[1.0, 0], [1.0, 0]]))
    labels, rows = torch.ones(images, dtype=torch.int64), torch.arange(images)
    found = one_pixel(models, pictures(images, 1, 3, 4), labels, rows, evolution=SHORT)
    assert found.place.shape == (2, images, 2) and found.value.shape == (2, images, 1)
    outcome = found.outcome()
    assert outcome.correct.tolist() == outcome.withstood.tolist() == [0, 0]
    assert outcome.error_rate.isnan().all() and outcome.mean.isnan().all()
    assert models.seen == 2 * images


def test_logits_that_are_not_a_number_are_wrong() -> None:
    class Fragile(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sums = images.flatten(1).sum(1, keepdim=True)
            return torch.cat([sums.where(sums <= 0, torch.nan), sums - 1], dim=1)

    images = torch.zeros(1, 1, 3, 3)
    found = one_pixel(
        Alone(Fragile()), images, torch.tensor([0]), torch.tensor([0]), evolution=SHORT
    )
    assert found.fooled.tolist() == [[True]] and found.confidence.isnan().all()


def test_what_is_replaced_gives_the_pixels_of_whole_images() -> None:
    """Networks that add the change of a column, and those that see images, in float64."""
    networks, images = sparse(), pictures(12, 12)
    labels = often(networks, images)

    rows = torch.arange(len(images))
    common: Any = {"shape": (1, 3, 4), "evolution": Evolution(population=30, generations=8)}
    one = one_pixel(networks, images, labels, rows, **common)
    other = one_pixel(Whole(networks), images, labels, rows, chunk=40, **common)
    assert torch.equal(one.fooled, other.fooled) and one.fooled.any()
    assert torch.equal(one.generation, other.generation) and torch.equal(one.place, other.place)
    torch.testing.assert_close(one.value, other.value, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(one.confidence, other.confidence, rtol=0, atol=1e-9, equal_nan=True)
