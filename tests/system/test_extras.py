"""Optional packages."""

from __future__ import annotations

import importlib.util

import pytest
import test_packaging

from lit_cnn.system.extras import EXTRAS, require_extra


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("onnx", "onnxruntime") else object())
    command = r"make extras, or pip install '\.\[export\]' in the clone of lit_cnn$"
    with pytest.raises(ValueError, match=rf"^--format onnx needs onnx and onnxruntime: {command}"):
        require_extra("export", "--format onnx")
    require_extra("export", "--format onnx", ("onnxscript",))


def test_each_optional_package_is_known():
    extras = test_packaging.PROJECT["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"dev"}
    for extra, packages in EXTRAS.items():
        declared = {name.replace("-", "_") for name in test_packaging.names_of(extras[extra])}
        assert declared == set(packages)
