package main

import (
	"context"
	"time"

	"storj.io/uplink"
)

type bucketResponse struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func describeBucket(bucket *uplink.Bucket, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return bucketResponse{Name: bucket.Name, Created: bucket.Created}, nil
}

func createBucket(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.CreateBucket(ctx, cmd.Bucket))
}

func ensureBucket(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.EnsureBucket(ctx, cmd.Bucket))
}

func statBucket(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.StatBucket(ctx, cmd.Bucket))
}

func deleteBucket(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	if cmd.WithObjects {
		return describeBucket(project.DeleteBucketWithObjects(ctx, cmd.Bucket))
	}
	return describeBucket(project.DeleteBucket(ctx, cmd.Bucket))
}

func listBuckets(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	buckets := project.ListBuckets(ctx, &uplink.ListBucketsOptions{Cursor: string(cmd.Cursor)})
	listed := []bucketResponse{}
	for buckets.Next() {
		listed = append(listed, bucketResponse{Name: buckets.Item().Name, Created: buckets.Item().Created})
	}
	return listed, buckets.Err()
}
