package main

import (
	"context"
	"time"

	"storj.io/uplink"
	privateaccess "storj.io/uplink/private/access"
)

type accessResponse struct {
	Access    string `json:"access"`
	Satellite string `json:"satellite"`
}

func serialized(access *uplink.Access) (any, error) {
	text, err := access.Serialize()
	if err != nil {
		return nil, err
	}
	return accessResponse{Access: text, Satellite: access.SatelliteAddress()}, nil
}

func requestAccess(ctx context.Context, _ *session, cmd *command) (any, error) {
	var config uplink.Config
	if cmd.PlainNames {
		privateaccess.DisableObjectKeyEncryption(&config)
	}
	access, err := config.RequestAccessWithPassphrase(ctx, cmd.Satellite, cmd.APIKey, cmd.Passphrase)
	if err != nil {
		return nil, err
	}
	return serialized(access)
}

func parseAccess(_ context.Context, _ *session, cmd *command) (any, error) {
	access, err := uplink.ParseAccess(cmd.Access)
	if err != nil {
		return nil, err
	}
	return serialized(access)
}

func share(_ context.Context, _ *session, cmd *command) (any, error) {
	access, err := uplink.ParseAccess(cmd.Access)
	if err != nil {
		return nil, err
	}
	// Without a permission, the shared grant allows everything that its parent allows.
	allowed := uplink.FullPermission()
	if cmd.Permission != nil {
		allowed = cmd.Permission.convert()
	}
	prefixes := make([]uplink.SharePrefix, 0, len(cmd.Prefixes))
	for _, prefix := range cmd.Prefixes {
		prefixes = append(prefixes, uplink.SharePrefix{Bucket: prefix.Bucket, Prefix: string(prefix.Prefix)})
	}
	shared, err := access.Share(allowed, prefixes...)
	if err != nil {
		return nil, err
	}
	return serialized(shared)
}

func (permission *permission) convert() uplink.Permission {
	converted := uplink.Permission{
		AllowDownload: permission.Download,
		AllowUpload:   permission.Upload,
		AllowList:     permission.List,
		AllowDelete:   permission.Delete,
	}
	if permission.NotBefore != nil {
		converted.NotBefore = *permission.NotBefore
	}
	if permission.NotAfter != nil {
		converted.NotAfter = *permission.NotAfter
	}
	if permission.TTLSeconds != nil {
		ttl := time.Duration(*permission.TTLSeconds * float64(time.Second))
		converted.MaxObjectTTL = &ttl
	}
	return converted
}

func overrideKey(_ context.Context, _ *session, cmd *command) (any, error) {
	access, err := uplink.ParseAccess(cmd.Access)
	if err != nil {
		return nil, err
	}
	key, err := uplink.DeriveEncryptionKey(cmd.Passphrase, cmd.Salt)
	if err != nil {
		return nil, err
	}
	if err := access.OverrideEncryptionKey(cmd.Bucket, string(cmd.Prefix), key); err != nil {
		return nil, err
	}
	return serialized(access)
}

func revoke(ctx context.Context, session *session, cmd *command) (any, error) {
	ctx, project, err := session.project(ctx, cmd)
	if err != nil {
		return nil, err
	}
	revoked, err := uplink.ParseAccess(cmd.Revoked)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.RevokeAccess(ctx, revoked)
}
