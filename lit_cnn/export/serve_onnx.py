"""Serves an exported network: uvicorn serve_onnx:app --port 8000

POST /predict takes the bytes of an image, GET /health answers ok. Needs fastapi, uvicorn, onnxruntime,
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
from fastapi.responses import JSONResponse, PlainTextResponse
from PIL import UnidentifiedImageError
from predict_onnx import HERE, classify, read_image
from starlette.exceptions import HTTPException

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


def reason(error):
    """Why an image is not read, in one line."""
    if isinstance(error, UnidentifiedImageError):  # whose text is for programmers
        return "its content is of no image format that is read"
    return " ".join(str(error).split()) or type(error).__name__


def too_large():
    return JSONResponse({"error": f"an image may have {MAX_BYTES:,} bytes"}, 413)


@app.exception_handler(HTTPException)
async def refuse(_, error):
    return JSONResponse({"error": str(error.detail)}, error.status_code)


@app.post("/predict")
async def predict(request: Request):
    if request.headers.get("content-type", "").startswith(("multipart/", "application/json")):
        return JSONResponse({"error": "forms and JSON are not read here: send the bytes: --data-binary @FILE"}, 415)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > 10 * MAX_BYTES:
        return too_large()
    content, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= MAX_BYTES:
            content += part
        elif size > 10 * MAX_BYTES:
            break  # until then the rest is read and dropped: few clients read an answer while they send
    if size > MAX_BYTES:
        return too_large()
    if not content:
        return JSONResponse({"error": "there is no image: send the bytes: --data-binary @FILE"}, 422)
    try:
        image = await anyio.to_thread.run_sync(read_image, io.BytesIO(content), HOW, limiter=LIMITER)
    except MemoryError:
        return JSONResponse({"error": "too little memory for this image now"}, 503)
    except Exception as error:  # Pillow's decoders raise errors of many classes
        return JSONResponse({"error": f"the image cannot be decoded as an image ({reason(error)})"}, 422)
    return await anyio.to_thread.run_sync(answer, image, limiter=LIMITER)


@app.get("/health")
async def health():
    return PlainTextResponse("ok")
