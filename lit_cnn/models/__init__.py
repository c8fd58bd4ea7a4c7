"""Architectures, one file each: blocks, network, table of variants, LightningModule.

Every module here is imported and its ``Lit…`` class offered under this name, so a new architecture is a new file.
"""

import importlib
import pkgutil

__all__ = []
for _found in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_found.name}")
    for _name, _value in vars(_module).items():
        if _name.startswith("Lit") and getattr(_value, "__module__", None) == _module.__name__:
            globals()[_name] = _value
            __all__.append(_name)
