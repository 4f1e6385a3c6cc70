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

// nodeResponse is what a storage node learns from its satellite.
type nodeResponse struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Pings  int64     `json:"pings"`
	Reason string    `json:"reason"` // why the satellite cannot reach it

	Joined       time.Time  `json:"joined"`
	Vetted       *time.Time `json:"vetted"`
	Disqualified *time.Time `json:"disqualified"`
	Suspended    *time.Time `json:"suspended"`
	AuditScore   float64    `json:"audit_score"`
	OnlineScore  float64    `json:"online_score"`
	UsageOf      string     `json:"usage_of"`
	UsageDays    int        `json:"usage_days"`
	Price        int64      `json:"price"` // sum of all prices
	Paystubs     int        `json:"paystubs"`
	Payments     int        `json:"payments"`
	Settled      string     `json:"settled"` // status for an hour without orders
	PaidTier     bool       `json:"paid_tier"`
}

// node makes the calls of a storage node once: it checks in, is pinged back, and queries its own
// status.
func node(ctx context.Context, _ *session, cmd *command) (any, error) {
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
	satellite, err := storj.ParseNodeURL(cmd.Satellite)
	if err != nil {
		return nil, err
	}
	conn, err := rpc.NewDefaultDialer(options).DialNodeURL(ctx, satellite)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	response := &nodeResponse{ID: ident.ID.String()}
	for _, ask := range []func(context.Context, *rpc.Conn) error{
		func(ctx context.Context, conn *rpc.Conn) error { return response.checkIn(ctx, conn, address) },
		response.stats,
		response.payments,
		response.settle,
		func(ctx context.Context, conn *rpc.Conn) error { return response.user(ctx, conn, cmd.APIKey) },
	} {
		if err := ask(ctx, conn); err != nil {
			return nil, err
		}
	}
	response.Pings = endpoint.pings.Load()
	return response, nil
}

// contactEndpoint is the service of a storage node that satellites ping.
type contactEndpoint struct{ pings atomic.Int64 }

// PingNode counts pings.
func (endpoint *contactEndpoint) PingNode(context.Context, *pb.ContactPingRequest) (*pb.ContactPingResponse, error) {
	endpoint.pings.Add(1)
	return &pb.ContactPingResponse{}, nil
}

// listen serves until the context is cancelled, and returns its address.
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
	// Both stop with the context; their errors carry no information.
	go func() { _ = ports.Run(ctx) }()
	go func() { _ = drpcserver.New(handlers).Serve(ctx, listener) }()
	return socket.Addr().String(), nil
}

func (response *nodeResponse) checkIn(ctx context.Context, conn *rpc.Conn, address string) error {
	client := pb.NewDRPCNodeClient(conn)
	clock, err := client.GetTime(ctx, &pb.GetTimeRequest{})
	if err != nil {
		return err
	}
	response.Time = clock.Timestamp
	checked, err := client.CheckIn(ctx, &pb.CheckInRequest{
		Address:  address,
		Version:  &pb.NodeVersion{Version: "v1.0.0"},
		Capacity: &pb.NodeCapacity{FreeDisk: 1 << 40},
		Operator: &pb.NodeOperator{Email: "operator@example.test"},
	})
	if err != nil {
		return err
	}
	response.Reason = checked.PingErrorMessage
	lost := &pb.LostPiece{PieceId: storj.NewPieceID(), Reason: pb.LostPieceReason_READ_FAILURE}
	_, err = client.AmnestyReport(ctx, &pb.AmnestyReportRequest{LostPieces: []*pb.LostPiece{lost}})
	return err
}

func (response *nodeResponse) stats(ctx context.Context, conn *rpc.Conn) error {
	client := pb.NewDRPCNodeStatsClient(conn)
	stats, err := client.GetStats(ctx, &pb.GetStatsRequest{})
	if err != nil {
		return err
	}
	response.Joined, response.Vetted = stats.JoinedAt, stats.VettedAt
	response.Disqualified, response.Suspended = stats.Disqualified, stats.Suspended
	response.AuditScore, response.OnlineScore = stats.AuditCheck.ReputationScore, stats.OnlineScore
	now := time.Now()
	cmd := &pb.DailyStorageUsageRequest{From: now.Add(-48 * time.Hour), To: now}
	usage, err := client.DailyStorageUsage(ctx, cmd)
	if err != nil {
		return err
	}
	response.UsageOf, response.UsageDays = usage.NodeId.String(), len(usage.DailyStorageUsage)
	prices, err := client.PricingModel(ctx, &pb.PricingModelRequest{})
	if err != nil {
		return err
	}
	response.Price = prices.EgressBandwidthPrice + prices.RepairBandwidthPrice +
		prices.DiskSpacePrice + prices.AuditBandwidthPrice
	return nil
}

func (response *nodeResponse) payments(ctx context.Context, conn *rpc.Conn) error {
	client := pb.NewDRPCHeldAmountClient(conn)
	stubs, err := client.GetAllPaystubs(ctx, &pb.GetAllPaystubsRequest{})
	if err != nil {
		return err
	}
	payments, err := client.GetAllPayments(ctx, &pb.GetAllPaymentsRequest{})
	if err != nil {
		return err
	}
	response.Paystubs, response.Payments = len(stubs.Paystub), len(payments.Payment)
	return nil
}

func (response *nodeResponse) settle(ctx context.Context, conn *rpc.Conn) error {
	stream, err := pb.NewDRPCOrdersClient(conn).SettlementWithWindow(ctx)
	if err != nil {
		return err
	}
	settled, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	response.Settled = settled.Status.String()
	return nil
}

func (response *nodeResponse) user(ctx context.Context, conn *rpc.Conn, apiKey string) error {
	key, err := macaroon.ParseAPIKey(apiKey)
	if err != nil {
		return err
	}
	header := &pb.RequestHeader{ApiKey: key.SerializeRaw()}
	user, err := pb.NewDRPCUserInfoClient(conn).Get(ctx, &pb.GetUserInfoRequest{Header: header})
	if err != nil {
		return err
	}
	response.PaidTier = user.PaidTier
	return nil
}
