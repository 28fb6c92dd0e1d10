"""The calls that sign in, and those that move bytes: their addresses need no credentials, as signed ones."""

from __future__ import annotations

import hashlib
from email.utils import formatdate

from softvote.kaggle.testing.state import Kaggle, call
from softvote.kaggle.testing.wire import Answer, Refusal, Request
from softvote.storage.cache import JsonObject


@call
def introspect_token(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say whether an access token is the key of the one account, and whose it is."""
    known = asked.get("token") == kaggle.key
    return {"active": known, "username": kaggle.username if known else ""}


@call
def generate_access_token(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Give an access token for a refresh token.

    Raises:
        Refusal: 401, it is not the account's.
    """
    if asked.get("refreshToken") != kaggle.key:
        raise Refusal(401, "Unauthenticated")
    return {"token": kaggle.key, "expiresIn": 12 * 3600, "userName": kaggle.username, "userId": 1}


@call
def upload(kaggle: Kaggle, request: Request) -> Answer:
    """Take the bytes of an upload, or say whether they have arrived.

    Raises:
        Refusal: 400, they are not as many as were said; 404, no such upload is expected.
    """
    blob = kaggle.blobs.get(request.path.rsplit("/")[-1])
    if blob is None:
        raise Refusal(404, "Not Found")
    if request.headers.get("content-range", "").startswith("bytes */"):  # how much has arrived?
        return Answer(308 if blob.content is None else 200)
    if len(request.body) != blob.size:
        raise Refusal(400, f"{len(request.body)} bytes instead of {blob.size}")
    blob.content = request.body
    return Answer(200)


@call
def download(kaggle: Kaggle, request: Request) -> Answer:
    """Send what lies at a signed address, from the byte that is asked for, while it is still the same.

    Raises:
        Refusal: 404, nothing lies there; 416, it has no such byte.
    """
    if request.path not in kaggle.links:
        raise Refusal(404, "Not Found")
    content, modified = kaggle.links[request.path]
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Last-Modified": formatdate(modified, usegmt=True),
    }
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", tag) != tag:
        return Answer(200, content, headers)
    start = int(wanted.removeprefix("bytes=").split("-")[0])
    if start >= len(content):
        raise Refusal(416, "Range Not Satisfiable")
    span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    return Answer(206, content[start:], headers | span)


@call
def start_blob_upload(kaggle: Kaggle, asked: JsonObject) -> JsonObject:
    """Say where the bytes of a file of a dataset are to be sent."""
    return kaggle.expect(asked["name"], asked.get("contentLength", 0))
