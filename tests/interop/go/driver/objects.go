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

type objectResponse struct {
	Key      []byte            `json:"key"`
	IsPrefix bool              `json:"is_prefix"`
	Size     int64             `json:"size"`
	Created  time.Time         `json:"created"`
	Expires  *time.Time        `json:"expires"`
	Custom   map[string]string `json:"custom"`
}

func describeObject(object *uplink.Object) *objectResponse {
	if object == nil {
		return nil
	}
	return &objectResponse{
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

// versioned is an object with the fields that only the client's internal interface exposes.
type versioned struct {
	*objectResponse
	ETag []byte `json:"etag"`
}

func describeVersioned(described *object.VersionedObject) versioned {
	return versioned{
		objectResponse: describeObject(&described.Object),
		ETag:           described.ETag,
	}
}

// conditions returns the conditions of a write, for the client's internal interface.
func (cmd *command) conditions() []string {
	if cmd.IfAbsent {
		return []string{"*"}
	}
	return nil
}

// upload writes an object. An object with an ETag or a condition is written through the client's
// internal interface, because the public one supports neither.
func upload(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	options := &metaclient.UploadOptions{Expires: orZero(cmd.Expires), IfNoneMatch: cmd.conditions()}
	var handle interface {
		io.Writer
		SetCustomMetadata(context.Context, uplink.CustomMetadata) error
		Commit() error
		Abort() error
	}
	info := func() any { return nil }
	if cmd.ETag != nil || cmd.IfAbsent {
		tools, err := object.UploadObject(ctx, project, cmd.Bucket, string(cmd.Key), options)
		if err != nil {
			return nil, err
		}
		if err := tools.SetETag(ctx, cmd.ETag); err != nil {
			return nil, errors.Join(err, tools.Abort())
		}
		handle, info = tools, func() any { return describeVersioned(tools.Info()) }
	} else {
		public, err := project.UploadObject(ctx, cmd.Bucket, string(cmd.Key),
			&uplink.UploadOptions{Expires: options.Expires})
		if err != nil {
			return nil, err
		}
		handle, info = public, func() any { return describeObject(public.Info()) }
	}
	if cmd.Custom != nil {
		err = handle.SetCustomMetadata(ctx, cmd.Custom)
	}
	if err == nil {
		err = cmd.write(handle)
	}
	if err == nil && !cmd.Abort {
		if err = handle.Commit(); err == nil {
			return info(), nil
		}
		return nil, err
	}
	aborted := handle.Abort()
	if err != nil {
		// The first failure is reported; an error of the abort follows from it.
		return nil, err
	}
	return struct{}{}, aborted
}

type downloadResponse struct {
	Object *objectResponse `json:"object"`
	Length int64           `json:"length"`
	SHA256 string          `json:"sha256"`
	Bytes  []byte          `json:"bytes,omitempty"`
}

func download(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	var options *uplink.DownloadOptions
	if cmd.Offset != nil || cmd.Length != nil {
		options = &uplink.DownloadOptions{Length: -1}
		if cmd.Offset != nil {
			options.Offset = *cmd.Offset
		}
		if cmd.Length != nil {
			options.Length = *cmd.Length
		}
	}
	handle, err := project.DownloadObject(ctx, cmd.Bucket, string(cmd.Key), options)
	if err != nil {
		return nil, err
	}
	content := newReceived(cmd.Bytes)
	_, err = io.Copy(content, handle)
	if err = errors.Join(err, handle.Close()); err != nil {
		return nil, err
	}
	return downloadResponse{
		Object: describeObject(handle.Info()),
		Length: content.length,
		SHA256: hex.EncodeToString(content.hash.Sum(nil)),
		Bytes:  content.bytes,
	}, nil
}

func stat(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	public, err := project.StatObject(ctx, cmd.Bucket, string(cmd.Key))
	if err != nil {
		return nil, err
	}
	tools, err := object.StatObject(ctx, project, cmd.Bucket, string(cmd.Key), nil)
	if err != nil {
		return nil, err
	}
	response := describeVersioned(tools)
	response.objectResponse = describeObject(public)
	return response, nil
}

// deleteObject returns the deleted object, or null if there was none or the grant may not see it.
func deleteObject(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	deleted, err := project.DeleteObject(ctx, cmd.Bucket, string(cmd.Key))
	return describeObject(deleted), err
}

func updateMetadata(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.UpdateObjectMetadata(ctx, cmd.Bucket, string(cmd.Key), cmd.Custom, nil)
}

func copyObject(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if cmd.IfAbsent {
		options := object.CopyObjectOptions{IfNoneMatch: cmd.conditions()}
		copied, err := object.CopyObject(ctx, project, cmd.Bucket, string(cmd.Key), nil,
			cmd.NewBucket, string(cmd.NewKey), options)
		if err != nil {
			return nil, err
		}
		return describeVersioned(copied), nil
	}
	copied, err := project.CopyObject(ctx, cmd.Bucket, string(cmd.Key), cmd.NewBucket, string(cmd.NewKey), nil)
	return describeObject(copied), err
}

func moveObject(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.MoveObject(ctx, cmd.Bucket, string(cmd.Key), cmd.NewBucket, string(cmd.NewKey), nil)
}

func listObjects(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	objects := project.ListObjects(ctx, cmd.Bucket, &uplink.ListObjectsOptions{
		Prefix:    string(cmd.Prefix),
		Cursor:    string(cmd.Cursor),
		Recursive: cmd.Recursive,
		System:    cmd.System,
		Custom:    cmd.WithMeta,
	})
	listed := []*objectResponse{}
	for objects.Next() {
		listed = append(listed, describeObject(objects.Item()))
	}
	return listed, objects.Err()
}
