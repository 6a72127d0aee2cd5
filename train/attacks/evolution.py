"""Differential evolution (Storn & Price 1997) of pixels: many searches at once, none of them mixed.

A search has a population of candidates, whose genes are a column, a row and a value in [0, 1] for
each channel, all of them continuous. In each generation every candidate meets a mutant,
best + F (a - b), where a and b are two others, and F is drawn once a generation ("best1bin" with
dither, and with recombination 1, so that a mutant has all its genes from the formula). The better
of the two stays, the mutant if they are equal. Mutants of a generation all know the same best. A
gene that leaves its bounds is drawn anew: brought back to them instead, it would soon be there in
all candidates, and where a pixel must be black that best is white, none would be found.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quire.loaders.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """How a pixel is looked for; the defaults are those of Ben Amor, Stier & Granitzer."""

    population: int = 500
    """Candidates of a generation, exactly."""
    generations: int = 500
    """At most, after the first, which is drawn."""
    mutation: tuple[float, float] = (0.5, 1.0)
    """Bounds of F."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for what is no evolution."""
        if self.population < 3:
            raise ValueError(f"the population is {self.population}; a mutant needs two others")
        if self.generations < 0:
            raise ValueError(f"there are {self.generations} generations; it must be 0 or more")
        low, high = self.mutation
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"mutation is in {self.mutation}; the bounds must be in order")

    def first(self, keys: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """The first genes of each search, for pictures of (channels, H, W). (N,) -> (N, P, G).

        Columns are the integer parts of U(0, W), rows likewise. Values are N(128, 127) of 255,
        brought back to [0, 1]; they are computed on the CPU, as other devices know other last
        digits of the normal distribution.
        """
        channels, height, width = shape
        draws = Draws(self.seed, 0, keys.cpu())
        place = draws.uniforms("one pixel places", 2 * self.population)
        place = place.view(-1, self.population, 2) * torch.tensor([width, height])
        value = draws.uniforms("one pixel values", channels * self.population)
        normal = torch.special.ndtri(value.double() + 2**-25)  # in the middle of a draw's bin
        value = ((128 + 127 * normal) / 255).clamp(0, 1).view(-1, self.population, channels)
        return torch.cat([place, value.float()], dim=2).to(keys.device)

    def mutants(
        self,
        genes: Tensor,
        fitness: Tensor,
        keys: Tensor,
        generation: int,
        shape: tuple[int, int, int],
    ) -> Tensor:
        """What each candidate meets in a generation. (N, P, G), (N, P), (N,) -> (N, P, G).

        Generations are counted from 1.
        """
        channels, height, width = shape
        draws = Draws(self.seed, generation, keys)
        low, high = self.mutation
        scale = low + (high - low) * draws.uniforms("one pixel scale", 1).unsqueeze(2)
        pairs = draws.uniforms("one pixel partners", 2 * self.population)
        one, other = partners(pairs.view(-1, self.population, 2)).unsqueeze(3).unbind(2)
        difference = genes.take_along_dim(one, 1) - genes.take_along_dim(other, 1)
        mutants = best(genes, fitness) + scale * difference
        top = torch.tensor([width, height] + [1] * channels, device=genes.device)
        anew = draws.uniforms("one pixel anew", genes.shape[1] * genes.shape[2])
        left = (mutants < 0) | (mutants > top)
        return torch.where(left, anew.view_as(genes) * top, mutants)


def best(genes: Tensor, fitness: Tensor) -> Tensor:
    """The genes of the fittest of each search. (N, P, G), (N, P) -> (N, 1, G)."""
    return genes.take_along_dim(fitness.argmax(1)[:, None, None], 1)


def partners(draws: Tensor) -> Tensor:
    """Two others for each candidate, not the same. (N, P, 2) in [0, 1) -> (N, P, 2) int64.

    >>> partners(torch.tensor([[[0.0, 0.0], [0.0, 0.9], [0.9, 0.9], [0.0, 0.9]]]))
    tensor([[[1, 2],
             [0, 3],
             [3, 1],
             [0, 2]]])
    """
    size = draws.shape[1]
    itself = torch.arange(size, device=draws.device)
    # n * (1 - 2^-24), of the largest draw, is never rounded up to n
    one = (draws[..., 0] * (size - 1)).long()
    one += one >= itself
    other = (draws[..., 1] * (size - 2)).long()
    other += other >= torch.minimum(one, itself)
    other += other >= torch.maximum(one, itself)
    return torch.stack([one, other], dim=2)


def places(genes: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The column and row of each candidate. (..., G) -> (..., 2) int64."""
    _, height, width = shape
    last = torch.tensor([width - 1, height - 1], device=genes.device)
    return torch.minimum(genes[..., :2].long(), last)
