"""Losses as modules of torch: `criterion = tinyloss.torch.CrossEntropyLoss()`.

Each class takes the parameters of its namesake in `tinyloss`; a call takes the tensors. To import
this module imports torch.
"""

from tinyloss_torch.modules import *
from tinyloss_torch.modules import __all__  # noqa: F401 - what the star brings
