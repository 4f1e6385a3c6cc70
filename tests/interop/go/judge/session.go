package main

import (
	"context"

	"storj.io/common/memory"
	"storj.io/uplink"
	"storj.io/uplink/private/testuplink"
)

// session keeps projects open, so that a second command finds the connections of the first.
type session struct {
	projects map[client]*uplink.Project
}

func newSession() *session {
	return &session{projects: map[client]*uplink.Project{}}
}

func (session *session) close() {
	for _, project := range session.projects {
		// Nothing is under way any more, and nobody would read the error.
		_ = project.Close()
	}
}

// project opens the project of a command, and returns the context that its operations need.
func (session *session) project(ctx context.Context, asked *command) (context.Context, *uplink.Project, error) {
	ctx = asked.client.settings(ctx)
	if project, open := session.projects[asked.client]; open {
		return ctx, project, nil
	}
	access, err := uplink.ParseAccess(asked.Access)
	if err != nil {
		return ctx, nil, err
	}
	project, err := uplink.OpenProject(ctx, access)
	if err != nil {
		return ctx, nil, err
	}
	session.projects[asked.client] = project
	return ctx, project, nil
}

// settings puts what deviates from the usual where the client looks for it.
func (client client) settings(ctx context.Context) context.Context {
	if client.SegmentSize > 0 {
		ctx = testuplink.WithMaxSegmentSize(ctx, memory.Size(client.SegmentSize))
	}
	if client.ListLimit > 0 {
		ctx = testuplink.WithListLimit(ctx, client.ListLimit)
	}
	config := testuplink.DefaultConcurrentSegmentUploadsConfig()
	if client.Pieces > 0 {
		config.SchedulerOptions.MaximumConcurrent = client.Pieces
	}
	if client.Segments > 0 {
		config.SchedulerOptions.MaximumConcurrentHandles = client.Segments
	}
	return testuplink.WithConcurrentSegmentUploadsConfig(ctx, config)
}
