package main

import (
	"context"
	"time"

	"storj.io/uplink"
	privateaccess "storj.io/uplink/private/access"
)

type accessAnswer struct {
	Access    string `json:"access"`
	Satellite string `json:"satellite"`
}

func serialized(access *uplink.Access) (any, error) {
	text, err := access.Serialize()
	if err != nil {
		return nil, err
	}
	return accessAnswer{Access: text, Satellite: access.SatelliteAddress()}, nil
}

func requestAccess(ctx context.Context, _ *session, asked *command) (any, error) {
	var config uplink.Config
	if asked.PlainNames {
		privateaccess.DisableObjectKeyEncryption(&config)
	}
	access, err := config.RequestAccessWithPassphrase(ctx, asked.Satellite, asked.APIKey, asked.Passphrase)
	if err != nil {
		return nil, err
	}
	return serialized(access)
}

func parseAccess(_ context.Context, _ *session, asked *command) (any, error) {
	access, err := uplink.ParseAccess(asked.Access)
	if err != nil {
		return nil, err
	}
	return serialized(access)
}

func share(_ context.Context, _ *session, asked *command) (any, error) {
	access, err := uplink.ParseAccess(asked.Access)
	if err != nil {
		return nil, err
	}
	// Without a permission everything that the grant allows is passed on.
	allowed := uplink.FullPermission()
	if asked.Permission != nil {
		allowed = asked.Permission.convert()
	}
	prefixes := make([]uplink.SharePrefix, 0, len(asked.Prefixes))
	for _, prefix := range asked.Prefixes {
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

func overrideKey(_ context.Context, _ *session, asked *command) (any, error) {
	access, err := uplink.ParseAccess(asked.Access)
	if err != nil {
		return nil, err
	}
	key, err := uplink.DeriveEncryptionKey(asked.Passphrase, asked.Salt)
	if err != nil {
		return nil, err
	}
	if err := access.OverrideEncryptionKey(asked.Bucket, string(asked.Prefix), key); err != nil {
		return nil, err
	}
	return serialized(access)
}

func revoke(ctx context.Context, session *session, asked *command) (any, error) {
	ctx, project, err := session.project(ctx, asked)
	if err != nil {
		return nil, err
	}
	revoked, err := uplink.ParseAccess(asked.Revoked)
	if err != nil {
		return nil, err
	}
	return struct{}{}, project.RevokeAccess(ctx, revoked)
}
