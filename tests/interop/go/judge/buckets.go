package main

import (
	"context"
	"time"

	"storj.io/uplink"
)

type bucketAnswer struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func describeBucket(bucket *uplink.Bucket, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return bucketAnswer{Name: bucket.Name, Created: bucket.Created}, nil
}

func createBucket(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.CreateBucket(ctx, asked.Bucket))
}

func ensureBucket(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.EnsureBucket(ctx, asked.Bucket))
}

func statBucket(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	return describeBucket(project.StatBucket(ctx, asked.Bucket))
}

func deleteBucket(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	if asked.WithObjects {
		return describeBucket(project.DeleteBucketWithObjects(ctx, asked.Bucket))
	}
	return describeBucket(project.DeleteBucket(ctx, asked.Bucket))
}

func listBuckets(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	buckets := project.ListBuckets(ctx, &uplink.ListBucketsOptions{Cursor: string(asked.Cursor)})
	listed := []bucketAnswer{}
	for buckets.Next() {
		listed = append(listed, bucketAnswer{Name: buckets.Item().Name, Created: buckets.Item().Created})
	}
	return listed, buckets.Err()
}
