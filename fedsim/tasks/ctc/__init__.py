"""Recognition: speech to characters with CTC, federated or as fine-tuning of a pretrained encoder.

As in section 4.2 of Gao et al. (2022): three linear layers on top of the encoder, the whole network
trained with CTC loss, greedy decoding. Characters are the units.
"""

from __future__ import annotations

from fedsim.tasks.ctc.task import Ctc

__all__ = ["Ctc"]
