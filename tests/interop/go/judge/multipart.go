package main

import (
	"context"
	"time"

	"storj.io/uplink"
)

type uploadAnswer struct {
	UploadID string            `json:"upload_id"`
	Key      []byte            `json:"key"`
	IsPrefix bool              `json:"is_prefix"`
	Size     int64             `json:"size"`
	Created  time.Time         `json:"created"`
	Expires  *time.Time        `json:"expires"`
	Custom   map[string]string `json:"custom"`
}

func describeUpload(info *uplink.UploadInfo) uploadAnswer {
	return uploadAnswer{
		UploadID: info.UploadID,
		Key:      []byte(info.Key),
		IsPrefix: info.IsPrefix,
		Size:     info.System.ContentLength,
		Created:  info.System.Created,
		Expires:  unlessZero(info.System.Expires),
		Custom:   info.Custom,
	}
}

type partAnswer struct {
	Part     uint32    `json:"part"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	ETag     []byte    `json:"etag"`
}

func describePart(part *uplink.Part) partAnswer {
	return partAnswer{Part: part.PartNumber, Size: part.Size, Modified: part.Modified, ETag: part.ETag}
}

func beginUpload(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	options := &uplink.UploadOptions{Expires: orZero(asked.Expires)}
	info, err := project.BeginUpload(ctx, asked.Bucket, string(asked.Key), options)
	if err != nil {
		return nil, err
	}
	return describeUpload(&info), nil
}

func uploadPart(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	part, err := project.UploadPart(ctx, asked.Bucket, string(asked.Key), asked.UploadID, asked.Part)
	if err != nil {
		return nil, err
	}
	if asked.ETag != nil {
		err = part.SetETag(asked.ETag)
	}
	if err == nil {
		err = asked.write(part)
	}
	if err == nil && !asked.Abort {
		if err = part.Commit(); err == nil {
			return describePart(part.Info()), nil
		}
		return nil, err
	}
	aborted := part.Abort()
	if err != nil {
		return nil, err
	}
	return struct{}{}, aborted
}

func commitUpload(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	committed, err := project.CommitUpload(ctx, asked.Bucket, string(asked.Key), asked.UploadID,
		&uplink.CommitUploadOptions{CustomMetadata: asked.Custom})
	return describeObject(committed), err
}

func abortUpload(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.AbortUpload(ctx, asked.Bucket, string(asked.Key), asked.UploadID)
}

func listUploads(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	uploads := project.ListUploads(ctx, asked.Bucket, &uplink.ListUploadsOptions{
		Prefix:    string(asked.Prefix),
		Cursor:    string(asked.Cursor),
		Recursive: asked.Recursive,
		System:    asked.System,
		Custom:    asked.WithMeta,
	})
	listed := []uploadAnswer{}
	for uploads.Next() {
		listed = append(listed, describeUpload(uploads.Item()))
	}
	return listed, uploads.Err()
}

func listParts(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	options := &uplink.ListUploadPartsOptions{Cursor: asked.AfterPart}
	if asked.AfterPart == 0 {
		// Part 0 exists: with options of zero the client would begin after it.
		options = nil
	}
	parts := project.ListUploadParts(ctx, asked.Bucket, string(asked.Key), asked.UploadID, options)
	listed := []partAnswer{}
	for parts.Next() {
		listed = append(listed, describePart(parts.Item()))
	}
	return listed, parts.Err()
}
