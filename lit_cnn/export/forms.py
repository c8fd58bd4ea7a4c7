"""The files of an export: the forms of a network, and what lies beside them."""

from __future__ import annotations

ONNX, ONNX_INT8, OPENVINO = "model.onnx", "model_int8.onnx", "model.xml"
PROGRAM, COMPILED = "model.pt2", "model_compiled.pt2"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
LABELS, PREPROCESS, CARD, PARITY = "labels.txt", "preprocess.json", "README.md", "parity.json"

# What each form is, by the name of its file.
FORMS = {
    ONNX: "ONNX, for ONNX Runtime and many others",
    ONNX_INT8: "ONNX with weights and activations of 8 bits",
    PROGRAM: f'torch.export: `torch.export.load("{PROGRAM}").module()`',
    COMPILED: f'compiled for this kind of processor: `torch._inductor.aoti_load_package("{COMPILED}")`',
    WEIGHTS: f"weights, with `{CONFIG}`: `lit_cnn.export.hub.load_hub_files(FOLDER)`",
    OPENVINO: "OpenVINO, with `model.bin`",
}
# All files that exports write; others in the folder are the user's.
FILES = {
    *FORMS,
    "model.bin",
    CONFIG,
    LABELS,
    PREPROCESS,
    CARD,
    PARITY,
    "predict_onnx.py",
    "serve_onnx.py",
    "Dockerfile",
    "requirements.txt",
}
