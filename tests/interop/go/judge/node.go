package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"storj.io/common/identity"
	"storj.io/common/macaroon"
	"storj.io/common/pb"
	"storj.io/common/peertls/tlsopts"
	"storj.io/common/rpc"
	"storj.io/common/storj"
	"storj.io/drpc/drpcmigrate"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"
)

// nodeAnswer is what a storage node hears from its satellite.
type nodeAnswer struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Pings  int64     `json:"pings"`
	Reason string    `json:"reason"` // why the satellite does not reach it

	Joined       time.Time  `json:"joined"`
	Vetted       *time.Time `json:"vetted"`
	Disqualified *time.Time `json:"disqualified"`
	Suspended    *time.Time `json:"suspended"`
	AuditScore   float64    `json:"audit_score"`
	OnlineScore  float64    `json:"online_score"`
	UsageOf      string     `json:"usage_of"`
	UsageDays    int        `json:"usage_days"`
	Price        int64      `json:"price"` // of everything together
	Paystubs     int        `json:"paystubs"`
	Payments     int        `json:"payments"`
	Settled      string     `json:"settled"` // what becomes of an hour without orders
	PaidTier     bool       `json:"paid_tier"`
}

// node does once what a storage node does for as long as it runs: it checks in, is pinged back, and
// asks about itself.
func node(ctx context.Context, _ *session, asked *command) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ident, err := identity.NewFullIdentity(ctx, identity.NewCAOptions{Concurrency: 1})
	if err != nil {
		return nil, err
	}
	options, err := tlsopts.NewOptions(ident, tlsopts.Config{PeerIDVersions: "0"}, nil)
	if err != nil {
		return nil, err
	}
	endpoint := &contactEndpoint{}
	address, err := endpoint.listen(ctx, options)
	if err != nil {
		return nil, err
	}
	satellite, err := storj.ParseNodeURL(asked.Satellite)
	if err != nil {
		return nil, err
	}
	conn, err := rpc.NewDefaultDialer(options).DialNodeURL(ctx, satellite)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	answer := &nodeAnswer{ID: ident.ID.String()}
	for _, ask := range []func(context.Context, *rpc.Conn) error{
		func(ctx context.Context, conn *rpc.Conn) error { return answer.checkIn(ctx, conn, address) },
		answer.stats,
		answer.payments,
		answer.settle,
		func(ctx context.Context, conn *rpc.Conn) error { return answer.user(ctx, conn, asked.APIKey) },
	} {
		if err := ask(ctx, conn); err != nil {
			return nil, err
		}
	}
	answer.Pings = endpoint.pings.Load()
	return answer, nil
}

// contactEndpoint is the part of a storage node that satellites ping.
type contactEndpoint struct{ pings atomic.Int64 }

// PingNode counts.
func (endpoint *contactEndpoint) PingNode(context.Context, *pb.ContactPingRequest) (*pb.ContactPingResponse, error) {
	endpoint.pings.Add(1)
	return &pb.ContactPingResponse{}, nil
}

// listen serves until the context ends, and returns where.
func (endpoint *contactEndpoint) listen(ctx context.Context, options *tlsopts.Options) (string, error) {
	handlers := drpcmux.New()
	if err := pb.DRPCRegisterContact(handlers, endpoint); err != nil {
		return "", err
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	ports := drpcmigrate.NewListenMux(socket, len(drpcmigrate.DRPCHeader))
	listener := tls.NewListener(ports.Route(drpcmigrate.DRPCHeader), options.ServerTLSConfig())
	// Both end with the context, whose error says nothing new.
	go func() { _ = ports.Run(ctx) }()
	go func() { _ = drpcserver.New(handlers).Serve(ctx, listener) }()
	return socket.Addr().String(), nil
}

func (answer *nodeAnswer) checkIn(ctx context.Context, conn *rpc.Conn, address string) error {
	client := pb.NewDRPCNodeClient(conn)
	clock, err := client.GetTime(ctx, &pb.GetTimeRequest{})
	if err != nil {
		return err
	}
	answer.Time = clock.Timestamp
	checked, err := client.CheckIn(ctx, &pb.CheckInRequest{
		Address:  address,
		Version:  &pb.NodeVersion{Version: "v1.0.0"},
		Capacity: &pb.NodeCapacity{FreeDisk: 1 << 40},
		Operator: &pb.NodeOperator{Email: "operator@example.test"},
	})
	if err != nil {
		return err
	}
	answer.Reason = checked.PingErrorMessage
	lost := &pb.LostPiece{PieceId: storj.NewPieceID(), Reason: pb.LostPieceReason_READ_FAILURE}
	_, err = client.AmnestyReport(ctx, &pb.AmnestyReportRequest{LostPieces: []*pb.LostPiece{lost}})
	return err
}

func (answer *nodeAnswer) stats(ctx context.Context, conn *rpc.Conn) error {
	client := pb.NewDRPCNodeStatsClient(conn)
	stats, err := client.GetStats(ctx, &pb.GetStatsRequest{})
	if err != nil {
		return err
	}
	answer.Joined, answer.Vetted = stats.JoinedAt, stats.VettedAt
	answer.Disqualified, answer.Suspended = stats.Disqualified, stats.Suspended
	answer.AuditScore, answer.OnlineScore = stats.AuditCheck.ReputationScore, stats.OnlineScore
	now := time.Now()
	asked := &pb.DailyStorageUsageRequest{From: now.Add(-48 * time.Hour), To: now}
	usage, err := client.DailyStorageUsage(ctx, asked)
	if err != nil {
		return err
	}
	answer.UsageOf, answer.UsageDays = usage.NodeId.String(), len(usage.DailyStorageUsage)
	prices, err := client.PricingModel(ctx, &pb.PricingModelRequest{})
	if err != nil {
		return err
	}
	answer.Price = prices.EgressBandwidthPrice + prices.RepairBandwidthPrice +
		prices.DiskSpacePrice + prices.AuditBandwidthPrice
	return nil
}

func (answer *nodeAnswer) payments(ctx context.Context, conn *rpc.Conn) error {
	client := pb.NewDRPCHeldAmountClient(conn)
	stubs, err := client.GetAllPaystubs(ctx, &pb.GetAllPaystubsRequest{})
	if err != nil {
		return err
	}
	payments, err := client.GetAllPayments(ctx, &pb.GetAllPaymentsRequest{})
	if err != nil {
		return err
	}
	answer.Paystubs, answer.Payments = len(stubs.Paystub), len(payments.Payment)
	return nil
}

func (answer *nodeAnswer) settle(ctx context.Context, conn *rpc.Conn) error {
	stream, err := pb.NewDRPCOrdersClient(conn).SettlementWithWindow(ctx)
	if err != nil {
		return err
	}
	settled, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	answer.Settled = settled.Status.String()
	return nil
}

func (answer *nodeAnswer) user(ctx context.Context, conn *rpc.Conn, apiKey string) error {
	key, err := macaroon.ParseAPIKey(apiKey)
	if err != nil {
		return err
	}
	header := &pb.RequestHeader{ApiKey: key.SerializeRaw()}
	user, err := pb.NewDRPCUserInfoClient(conn).Get(ctx, &pb.GetUserInfoRequest{Header: header})
	if err != nil {
		return err
	}
	answer.PaidTier = user.PaidTier
	return nil
}
