# The public surface with its types. At run time `run`, `cost` and `sweep` are packages that can be
# called (fedsim/rooms.py); a type checker sees the functions of fedsim/api.py.
from fedsim.api import cost as cost
from fedsim.api import load as load
from fedsim.api import run as run
from fedsim.api import sweep as sweep
from fedsim.errors import FedsimError as FedsimError
from fedsim.errors import InputError as InputError

__version__: str
