"""Serves an exported network: uvicorn serve_onnx:app --port 8000

POST /predict takes the bytes of an image, GET /health tells that the server is ready. Needs fastapi, uvicorn, onnxruntime,
Pillow and numpy. Files become pixels as in training, see predict_onnx.py beside this script.
"""

import io
import json
import os

import anyio
import anyio.to_thread
import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from predict_onnx import HERE, classify, read_image

MAX_BYTES = 20 * 2**20
HOW = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
SESSION = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
# JSON has no bytes that are not UTF-8, as names of files on Linux may.
CLASS_NAMES = [name.encode("utf-8", "backslashreplace").decode() for name in HOW["class_names"]]
# A large image takes 200 MB while it is decoded.
LIMITER = anyio.CapacityLimiter(os.cpu_count() or 1)
app = FastAPI(title="An image classifier", docs_url=None, redoc_url=None, openapi_url=None)


def answer(image):
    """The five likeliest classes of an image, with their probabilities."""
    values = classify(SESSION, image, HOW)
    top = [[CLASS_NAMES[i], round(float(values[i]), 6)] for i in np.argsort(-values, kind="stable")[:5]]
    return {"class": top[0][0], "probability": top[0][1], "top": top}


@app.post("/predict")
async def predict(request: Request):
    content, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= MAX_BYTES:
            content += part
        elif size > 10 * MAX_BYTES:
            break  # until then the rest is read and dropped: few clients read an answer while they send
    if size > MAX_BYTES:
        return JSONResponse({"error": f"an image may have {MAX_BYTES:,} bytes"}, 413)
    try:
        image = await anyio.to_thread.run_sync(read_image, io.BytesIO(content), HOW, limiter=LIMITER)
    except MemoryError:
        return JSONResponse({"error": "too little memory for this image now"}, 503)
    except Exception as error:  # Pillow's decoders raise errors of many classes
        return JSONResponse({"error": f"no image that is read ({type(error).__name__})"}, 400)
    return await anyio.to_thread.run_sync(answer, image, limiter=LIMITER)


@app.get("/health")
async def health():
    return {"status": "ready", "classes": len(HOW["class_names"])}
