"""The benchmark of networks that learn jointly trains the same ones in both ways."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import sparse
from tests.train.sparse.small import bundles


def test_the_same_networks_are_timed_in_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, graphs = bundles(tmp_path)
    options = sparse.Options(
        out=tmp_path / "sparse.json",
        data=data,
        graphs=graphs,
        networks=(5,),
        batch_size=8,
        rounds=2,
        device="cpu",
    )
    made = sparse.trainings(options, 5, data, graphs)
    (together,), alone = made[sparse.TOGETHER], made[sparse.ALONE]
    for index, one in enumerate(alone):
        (weights,) = one.networks.member(0).input.parameters()
        assert torch.equal(together.networks.member(index).input.weight, weights)
    sparse.main(options)
    (table,) = json.loads((tmp_path / "sparse.json").read_text())["tables"]
    assert [row["name"] for row in table["rows"]] == [sparse.TOGETHER, sparse.ALONE]
    assert "a step of all" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="graphs for 18 networks, not for 19"):
        sparse.trainings(options, 19, data, graphs)
