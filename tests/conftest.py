"""Tests run side by side, one process a core: threads of their own would only get in the way."""

import torch

torch.set_num_threads(1)
