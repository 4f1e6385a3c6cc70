package main

import (
	"context"
	"time"

	"storj.io/uplink"
	"storj.io/uplink/private/metaclient"
	"storj.io/uplink/private/multipart"
	"storj.io/uplink/private/object"
)

type uploadResponse struct {
	UploadID string            `json:"upload_id"`
	Key      []byte            `json:"key"`
	IsPrefix bool              `json:"is_prefix"`
	Size     int64             `json:"size"`
	Created  time.Time         `json:"created"`
	Expires  *time.Time        `json:"expires"`
	Custom   map[string]string `json:"custom"`
}

func describeUpload(info *uplink.UploadInfo) uploadResponse {
	return uploadResponse{
		UploadID: info.UploadID,
		Key:      []byte(info.Key),
		IsPrefix: info.IsPrefix,
		Size:     info.System.ContentLength,
		Created:  info.System.Created,
		Expires:  unlessZero(info.System.Expires),
		Custom:   info.Custom,
	}
}

type partResponse struct {
	Part     uint32    `json:"part"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	ETag     []byte    `json:"etag"`
}

func describePart(part *uplink.Part) partResponse {
	return partResponse{Part: part.PartNumber, Size: part.Size, Modified: part.Modified, ETag: part.ETag}
}

// beginUpload begins an upload, with custom metadata through the client's internal interface.
func beginUpload(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	var info uplink.UploadInfo
	if cmd.Custom != nil {
		options := &multipart.UploadOptions{Expires: orZero(cmd.Expires), CustomMetadata: cmd.Custom}
		info, err = multipart.BeginUpload(ctx, project, cmd.Bucket, string(cmd.Key), options)
	} else {
		options := &uplink.UploadOptions{Expires: orZero(cmd.Expires)}
		info, err = project.BeginUpload(ctx, cmd.Bucket, string(cmd.Key), options)
	}
	if err != nil {
		return nil, err
	}
	return describeUpload(&info), nil
}

func uploadPart(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	part, err := project.UploadPart(ctx, cmd.Bucket, string(cmd.Key), cmd.UploadID, cmd.Part)
	if err != nil {
		return nil, err
	}
	if cmd.ETag != nil {
		err = part.SetETag(cmd.ETag)
	}
	if err == nil {
		err = cmd.write(part)
	}
	if err == nil && !cmd.Abort {
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

func commitUpload(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if cmd.IfAbsent {
		options := &metaclient.CommitUploadOptions{
			CustomMetadata: cmd.Custom,
			IfNoneMatch:    cmd.conditions(),
		}
		committed, err := object.CommitUpload(ctx, project, cmd.Bucket, string(cmd.Key), cmd.UploadID, options)
		if err != nil {
			return nil, err
		}
		return describeVersioned(committed), nil
	}
	committed, err := project.CommitUpload(ctx, cmd.Bucket, string(cmd.Key), cmd.UploadID,
		&uplink.CommitUploadOptions{CustomMetadata: cmd.Custom})
	return describeObject(committed), err
}

func abortUpload(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.AbortUpload(ctx, cmd.Bucket, string(cmd.Key), cmd.UploadID)
}

func listUploads(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	uploads := project.ListUploads(ctx, cmd.Bucket, &uplink.ListUploadsOptions{
		Prefix:    string(cmd.Prefix),
		Cursor:    string(cmd.Cursor),
		Recursive: cmd.Recursive,
		System:    cmd.System,
		Custom:    cmd.WithMeta,
	})
	listed := []uploadResponse{}
	for uploads.Next() {
		listed = append(listed, describeUpload(uploads.Item()))
	}
	return listed, uploads.Err()
}

func listParts(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	options := &uplink.ListUploadPartsOptions{Cursor: cmd.AfterPart}
	if cmd.AfterPart == 0 {
		// Part 0 exists: with zero options the client would start after it.
		options = nil
	}
	parts := project.ListUploadParts(ctx, cmd.Bucket, string(cmd.Key), cmd.UploadID, options)
	listed := []partResponse{}
	for parts.Next() {
		listed = append(listed, describePart(parts.Item()))
	}
	return listed, parts.Err()
}
