package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"storj.io/uplink"
	"storj.io/uplink/private/metaclient"
	"storj.io/uplink/private/object"
)

type objectAnswer struct {
	Key      []byte            `json:"key"`
	IsPrefix bool              `json:"is_prefix"`
	Size     int64             `json:"size"`
	Created  time.Time         `json:"created"`
	Expires  *time.Time        `json:"expires"`
	Custom   map[string]string `json:"custom"`
}

func describeObject(object *uplink.Object) *objectAnswer {
	if object == nil {
		return nil
	}
	return &objectAnswer{
		Key:      []byte(object.Key),
		IsPrefix: object.IsPrefix,
		Size:     object.System.ContentLength,
		Created:  object.System.Created,
		Expires:  unlessZero(object.System.Expires),
		Custom:   object.Custom,
	}
}

func unlessZero(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

func orZero(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// versioned is an object with what only the tools' interface of the client shows.
type versioned struct {
	*objectAnswer
	ETag []byte `json:"etag"`
}

func describeVersioned(described *object.VersionedObject) versioned {
	return versioned{
		objectAnswer: describeObject(&described.Object),
		ETag:         described.ETag,
	}
}

// upload writes an object. One with an ETag goes through the interface that the client keeps for
// its tools, because the public one has no place for it.
func upload(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	options := &metaclient.UploadOptions{Expires: orZero(asked.Expires)}
	var handle interface {
		io.Writer
		SetCustomMetadata(context.Context, uplink.CustomMetadata) error
		Commit() error
		Abort() error
	}
	info := func() any { return nil }
	if asked.ETag != nil {
		tools, err := object.UploadObject(ctx, project, asked.Bucket, string(asked.Key), options)
		if err != nil {
			return nil, err
		}
		if err := tools.SetETag(ctx, asked.ETag); err != nil {
			return nil, errors.Join(err, tools.Abort())
		}
		handle, info = tools, func() any { return describeVersioned(tools.Info()) }
	} else {
		public, err := project.UploadObject(ctx, asked.Bucket, string(asked.Key),
			&uplink.UploadOptions{Expires: options.Expires})
		if err != nil {
			return nil, err
		}
		handle, info = public, func() any { return describeObject(public.Info()) }
	}
	if asked.Custom != nil {
		err = handle.SetCustomMetadata(ctx, asked.Custom)
	}
	if err == nil {
		err = asked.write(handle)
	}
	if err == nil && !asked.Abort {
		if err = handle.Commit(); err == nil {
			return info(), nil
		}
		return nil, err
	}
	aborted := handle.Abort()
	if err != nil {
		// The first failure is the one that is asked about; that of giving up follows from it.
		return nil, err
	}
	return struct{}{}, aborted
}

type downloadAnswer struct {
	Object *objectAnswer `json:"object"`
	Length int64         `json:"length"`
	SHA256 string        `json:"sha256"`
	Bytes  []byte        `json:"bytes,omitempty"`
}

func download(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	var options *uplink.DownloadOptions
	if asked.Offset != nil || asked.Length != nil {
		options = &uplink.DownloadOptions{Length: -1}
		if asked.Offset != nil {
			options.Offset = *asked.Offset
		}
		if asked.Length != nil {
			options.Length = *asked.Length
		}
	}
	handle, err := project.DownloadObject(ctx, asked.Bucket, string(asked.Key), options)
	if err != nil {
		return nil, err
	}
	content := newReceived(asked.Bytes)
	_, err = io.Copy(content, handle)
	if err = errors.Join(err, handle.Close()); err != nil {
		return nil, err
	}
	return downloadAnswer{
		Object: describeObject(handle.Info()),
		Length: content.length,
		SHA256: hex.EncodeToString(content.hash.Sum(nil)),
		Bytes:  content.bytes,
	}, nil
}

func stat(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	public, err := project.StatObject(ctx, asked.Bucket, string(asked.Key))
	if err != nil {
		return nil, err
	}
	tools, err := object.StatObject(ctx, project, asked.Bucket, string(asked.Key), nil)
	if err != nil {
		return nil, err
	}
	answer := describeVersioned(tools)
	answer.objectAnswer = describeObject(public)
	return answer, nil
}

// deleteObject answers the deleted object, or null where there was none or nothing may be said.
func deleteObject(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	deleted, err := project.DeleteObject(ctx, asked.Bucket, string(asked.Key))
	return describeObject(deleted), err
}

func updateMetadata(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.UpdateObjectMetadata(ctx, asked.Bucket, string(asked.Key), asked.Custom, nil)
}

func copyObject(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	copied, err := project.CopyObject(ctx, asked.Bucket, string(asked.Key), asked.NewBucket, string(asked.NewKey), nil)
	return describeObject(copied), err
}

func moveObject(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.MoveObject(ctx, asked.Bucket, string(asked.Key), asked.NewBucket, string(asked.NewKey), nil)
}

func listObjects(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	objects := project.ListObjects(ctx, asked.Bucket, &uplink.ListObjectsOptions{
		Prefix:    string(asked.Prefix),
		Cursor:    string(asked.Cursor),
		Recursive: asked.Recursive,
		System:    asked.System,
		Custom:    asked.WithMeta,
	})
	listed := []*objectAnswer{}
	for objects.Next() {
		listed = append(listed, describeObject(objects.Item()))
	}
	return listed, objects.Err()
}
