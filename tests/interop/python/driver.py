"""Drives the wheel `storj-uplink` on behalf of a test written in another language.

Reads one JSON command per line and writes one JSON response per line, in the format of the Go
driver. Keys and contents are Base64; this library supports only UTF-8 keys.
"""

import base64
import ctypes
import hashlib
import json
import sys

from storj_uplink import errors
from storj_uplink.module_classes import (
    CustomMetadata,
    CustomMetadataEntry,
    DownloadOptions,
    ListBucketsOptions,
    ListObjectsOptions,
    UploadOptions,
)
from storj_uplink.uplink import Uplink

KINDS = {
    errors.BandwidthLimitExceededError: "ErrBandwidthLimitExceeded",
    errors.BucketAlreadyExistError: "ErrBucketAlreadyExists",
    errors.BucketNameInvalidError: "ErrBucketNameInvalid",
    errors.BucketNotEmptyError: "ErrBucketNotEmpty",
    errors.BucketNotFoundError: "ErrBucketNotFound",
    errors.ObjectKeyInvalidError: "ErrObjectKeyInvalid",
    errors.ObjectNotFoundError: "ErrObjectNotFound",
    errors.TooManyRequestsError: "ErrTooManyRequests",
    errors.UploadDoneError: "ErrUploadDone",
}

UPLINK = Uplink()
PROJECTS = {}

# Bytes per read or write call.
PART = 1 << 16


def project(command):
    """Returns the open project of a grant, so that commands share connections."""
    access = command["access"]
    if access not in PROJECTS:
        PROJECTS[access] = UPLINK.parse_access(access).open_project()
    return PROJECTS[access]


def text(command, name):
    return base64.b64decode(command.get(name, "")).decode()


def pattern(seed, size):
    """Returns bytes that depend on size and seed; tests in other languages compute the same."""
    return bytes((i * 131 + (i >> 8) * 17 + seed) & 255 for i in range(size))


def describe(found):
    custom = {entry.key: entry.value for entry in found.custom.entries or []}
    return {
        "key": base64.b64encode(found.key.encode()).decode(),
        "is_prefix": found.is_prefix,
        "size": found.system.content_length,
        "created": found.system.created,
        "expires": found.system.expires or None,
        "custom": custom,
    }


def parse_access(command):
    access = UPLINK.parse_access(command["access"])
    return {"access": access.serialize(), "satellite": access.satellite_address()}


def create_bucket(command):
    return {"name": project(command).create_bucket(command["bucket"]).name}


def ensure_bucket(command):
    return {"name": project(command).ensure_bucket(command["bucket"]).name}


def stat_bucket(command):
    return {"name": project(command).stat_bucket(command["bucket"]).name}


def delete_bucket(command):
    project(command).delete_bucket(command["bucket"])
    return {}


def list_buckets(command):
    options = ListBucketsOptions(cursor=text(command, "cursor"))
    return [{"name": bucket.name} for bucket in project(command).list_buckets(options)]


def upload(command):
    options = UploadOptions(expires=command["expires"]) if "expires" in command else None
    handle = project(command).upload_object(command["bucket"], text(command, "key"), options)
    content = pattern(command.get("seed", 0), command.get("size", 0))
    for start in range(0, len(content), PART):
        write(handle, content[start:start + PART])
    entries = [
        CustomMetadataEntry(key, len(key.encode()), value, len(value.encode()))
        for key, value in command.get("custom", {}).items()
    ]
    if entries:
        handle.set_custom_metadata(CustomMetadata(entries, len(entries)))
    if command.get("abort"):
        handle.abort()
        return {}
    handle.commit()
    return describe(handle.info())


def write(handle, content):
    """Writes with the C function: `Upload.write` of 0.2.0 passes it a type instead of the bytes."""
    function = handle.uplink.m_libuplink.uplink_upload_write
    if function.argtypes is None:
        try:
            handle.write(b"", 0)
        except ctypes.ArgumentError:
            pass  # expected: the call declares the function's argument types
    while content:
        buffer = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
        result = function(handle.upload, buffer, len(content))
        if result.error:
            error = result.error.contents
            raise errors._storj_exception(error.code, error.message.decode())
        content = content[result.bytes_written:]


def download(command):
    options = None
    if "offset" in command or "length" in command:
        options = DownloadOptions(command.get("offset", 0), command.get("length", -1))
    handle = project(command).download_object(command["bucket"], text(command, "key"), options)
    found = describe(handle.info())
    offset, length = command.get("offset", 0), command.get("length", -1)
    start = max(0, offset + found["size"]) if offset < 0 else offset
    left = found["size"] - start if length < 0 else min(length, found["size"] - start)
    # Reads exactly the available bytes: the library does not distinguish the end from a failure.
    content = bytearray()
    while len(content) < left:
        content += handle.read(min(PART, left - len(content)))[0]
    handle.close()
    return {
        "object": found,
        "length": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def stat(command):
    return describe(project(command).stat_object(command["bucket"], text(command, "key")))


def delete(command):
    project(command).delete_object(command["bucket"], text(command, "key"))
    return {}


def list_objects(command):
    options = ListObjectsOptions(
        prefix=text(command, "prefix"),
        cursor=text(command, "cursor"),
        recursive=command.get("recursive", False),
        system=command.get("system", False),
        custom=command.get("with_custom", False),
    )
    return [describe(item) for item in project(command).list_objects(command["bucket"], options)]


OPERATIONS = {
    "parse_access": parse_access,
    "create_bucket": create_bucket,
    "ensure_bucket": ensure_bucket,
    "stat_bucket": stat_bucket,
    "delete_bucket": delete_bucket,
    "list_buckets": list_buckets,
    "upload": upload,
    "download": download,
    "stat": stat,
    "delete": delete,
    "list": list_objects,
}


def respond(line):
    command = json.loads(line)
    operation = OPERATIONS.get(command["op"])
    if operation is None:
        return {"error": f"unknown operation {command['op']!r}", "kind": "Command", "code": 0}
    try:
        return operation(command)
    except errors.StorjException as error:
        kind = KINDS.get(type(error), "")
        return {"error": str(error.details), "kind": kind, "code": 0}


for line in sys.stdin:
    print(json.dumps(respond(line)), flush=True)
