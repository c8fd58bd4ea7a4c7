"""Dropout over several processes."""

import pytest
import torch
from torch import nn

from lit_cnn.layers import Dropout, share_dropout


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_drop_what_one_process_drops(
    monkeypatch: pytest.MonkeyPatch, num_processes: int, memory_format: torch.memory_format
):
    batch = torch.rand(6, 5, 4, 3).to(memory_format=memory_format)
    layers = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.2))
    torch.manual_seed(0)
    whole = layers(batch)
    shared = share_dropout(layers)
    assert [type(layer) for layer in shared] == [Dropout, nn.Flatten, Dropout]
    torch.manual_seed(0)
    torch.testing.assert_close(shared(batch), whole, rtol=0, atol=0)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: num_processes)
    for rank in range(num_processes):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        own = batch[rank::num_processes].contiguous(memory_format=memory_format)
        torch.testing.assert_close(shared(own), whole[rank::num_processes])
    assert torch.equal(shared.eval()(batch), batch.flatten(1))


def test_subclasses_and_modes_stay():
    class Own(nn.Dropout):
        pass

    network = share_dropout(nn.ModuleDict({"own": Own(), "deep": nn.Sequential(nn.Dropout(0.3, inplace=True).eval())}))
    assert type(network["own"]) is Own
    deep = network["deep"][0]
    assert isinstance(deep, Dropout)
    assert (deep.p, deep.inplace, deep.training) == (0.3, True, False)
    assert isinstance(share_dropout(nn.Dropout()), Dropout)
