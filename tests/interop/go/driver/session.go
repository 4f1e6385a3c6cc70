package main

import (
	"context"

	"storj.io/common/memory"
	"storj.io/uplink"
	"storj.io/uplink/private/testuplink"
)

// session keeps projects open, so that commands share connections.
type session struct {
	projects map[client]*uplink.Project
}

func newSession() *session {
	return &session{projects: map[client]*uplink.Project{}}
}

func (session *session) close() {
	for _, project := range session.projects {
		// No operation is in flight, so an error does not matter.
		_ = project.Close()
	}
}

// project opens the project of a command, and returns the context that its operations need.
func (session *session) project(ctx context.Context, cmd *command) (context.Context, *uplink.Project, error) {
	ctx = cmd.client.settings(ctx)
	if project, open := session.projects[cmd.client]; open {
		return ctx, project, nil
	}
	access, err := uplink.ParseAccess(cmd.Access)
	if err != nil {
		return ctx, nil, err
	}
	project, err := uplink.OpenProject(ctx, access)
	if err != nil {
		return ctx, nil, err
	}
	session.projects[cmd.client] = project
	return ctx, project, nil
}

// settings adds non-default settings to the context.
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
