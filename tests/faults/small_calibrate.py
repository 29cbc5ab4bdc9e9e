"""``fedsim calibrate`` on the operators of a small model: as the command, in seconds instead of minutes."""

import sys

from fedsim.measure import calibrate
from fedsim.measure.timing import Setting

if __name__ == "__main__":
    from fedsim.cli import main

    keep = calibrate.calibrate.__defaults__[0]
    calibrate.calibrate.__defaults__ = (keep, (Setting(1, 0.5),), "wav2vec2-tiny")
    main(sys.argv[1:])
