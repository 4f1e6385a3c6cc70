//! An object at its satellite: everything needed to read on anywhere in it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use uplink_core::encryption::content::{ContentCipher, SegmentCipher, append_padding};
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Key};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{self, Extent};
use uplink_rpc::status::Code;
use uplink_segment::RemoteSegment;
use uplink_segment::download::{Read, download};

use super::options::DownloadOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    Claimed, ExpectedSegment, Layout, ListedSegment, PageState, Rules, Start, WholeList,
    unauthenticated,
};
use crate::location::Location;
use crate::object::{self, Object};
use crate::satellite::{Content, ObjectKeys, ObjectRecord, SegmentDownload, SegmentPage};
use crate::session::Session;

/// An object that is being read. Clones share what is known of its segments.
#[derive(Clone, Debug)]
pub(super) struct Source {
    session: Session,
    parameters: EncryptionParameters,
    location: Location,
    stream_id: Bytes,
    /// One pass at a time holds it, from its beginning to its end.
    layout: Arc<Mutex<Layout>>,
}

/// An object that was opened, with its first segment if that holds bytes of the range.
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) object: Object,
    pub(super) range: Range<u64>,
    pub(super) first: Option<SegmentDownload>,
}

/// Opens an object: all that its layout needs is known and checked afterwards, and its first segment
/// is there.
pub(super) async fn open(
    session: &Session,
    location: &Location,
    options: DownloadOptions,
) -> Result<Opened> {
    let offered = session.satellite().download_object(location, options.part()).await?;
    let rules = Rules::from(session.config());
    let parameters = offered.object.parameters()?;
    let (object, claimed) = object::open(location, &offered.object, rules)?;
    claimed.check_required(rules)?;
    claimed.check_block_size(parameters.block_size)?;
    let range = options.resolve(object.size)?;
    let stream = Stream { session, location, parameters, stream_id: offered.object.stream_id() };
    let listed = offered.listed(&stream.keys())?;
    let page = PageState { more: listed.more, covers: options.is_whole() && !listed.more };
    let mut layout = stream.layout(claimed, &listed.segments, page, rules).await?;
    let first = if range.is_empty() {
        None
    } else {
        let expected = stream.expect(&mut layout, range.start).await?;
        let key = session.satellite().signing_key()?;
        let first = match offered.first(&expected, &stream.keys(), &key) {
            Some(first) => stream.accept(&mut layout, first?)?,
            None => stream.segment(&mut layout, &expected).await?,
        };
        Some(first)
    };
    let source = Source {
        session: session.clone(),
        parameters,
        location: location.clone(),
        stream_id: stream.stream_id,
        layout: Arc::new(Mutex::new(layout)),
    };
    Ok(Opened { source, object, range, first })
}

/// R7: checks that an object without an envelope has no segments of this client, where the access
/// grant allows to look at them.
pub(crate) async fn check_bare(
    session: &Session,
    location: &Location,
    record: &ObjectRecord,
    claimed: Claimed,
) -> Result<()> {
    let (parameters, stream_id) = (record.parameters()?, record.stream_id());
    let stream = Stream { session, location, parameters, stream_id };
    match stream.page(None).await {
        Ok(SegmentPage { segments, more }) => {
            let page = PageState { more, covers: !more };
            Layout::start(claimed, &segments, page, Rules::from(session.config()))?;
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

impl Source {
    /// Waits until no other pass reads, and takes what is known of the segments.
    pub(super) async fn lock_layout(&self) -> OwnedMutexGuard<Layout> {
        Arc::clone(&self.layout).lock_owned().await
    }

    /// The object's segments as the satellite has them.
    pub(super) fn stream(&self) -> Stream<'_> {
        Stream {
            session: &self.session,
            location: &self.location,
            parameters: self.parameters,
            stream_id: self.stream_id.clone(),
        }
    }
}

/// One version of an object at its satellite.
pub(super) struct Stream<'a> {
    session: &'a Session,
    location: &'a Location,
    parameters: EncryptionParameters,
    stream_id: Bytes,
}

impl Stream<'_> {
    fn keys(&self) -> ObjectKeys<'_> {
        ObjectKeys { parameters: self.parameters, content_key: &self.location.content_key }
    }

    /// Learns as much of the object's segments as its rule demands before a byte is handed out.
    async fn layout(
        &self,
        claimed: Claimed,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Layout> {
        match Layout::start(claimed, listed, page, rules)? {
            Start::Ready(layout) => Ok(layout),
            Start::Whole(list) if page.covers => self.whole(list, Some(listed)).await,
            Start::Whole(list) => self.whole(list, None).await,
            Start::AnySegment(claimed) => {
                let SegmentPage { segments, more } = self.page(None).await?;
                let page = PageState { more, covers: !more };
                match Layout::start(claimed, &segments, page, rules)? {
                    Start::Whole(list) => self.whole(list, None).await,
                    Start::Ready(layout) => Ok(layout),
                    Start::AnySegment(_) => Err(unauthenticated("the satellite lists no segment")),
                }
            }
        }
    }

    /// Reads the whole list, or takes it from what was listed.
    async fn whole(&self, mut list: WholeList, listed: Option<&[ListedSegment]>) -> Result<Layout> {
        match listed {
            Some(listed) => {
                list.extend(listed)?;
            }
            None => loop {
                let SegmentPage { segments, more } = self.page(list.last()).await?;
                if !list.extend(&segments)? || !more {
                    break;
                }
            },
        }
        let (mut layout, last) = list.finish()?;
        if let Some(last) = last {
            Box::pin(self.check_end(&mut layout, &last)).await?;
        }
        Ok(layout)
    }

    /// One page of the segment list.
    async fn page(&self, last: Option<&ListedSegment>) -> Result<SegmentPage> {
        let after = last.map_or(SegmentPosition { part: 0, index: 0 }, |last| last.position);
        let satellite = self.session.satellite();
        let page = satellite.list_segments(self.stream_id.clone(), after, &self.keys()).await;
        page.map_err(changed)
    }

    /// What the segment that holds the byte at `offset` must be.
    pub(super) async fn expect(&self, layout: &mut Layout, offset: u64) -> Result<ExpectedSegment> {
        loop {
            if let Some(expected) = layout.at(offset)? {
                return Ok(expected);
            }
            let SegmentPage { segments, more } = self.page(layout.list_after()).await?;
            layout.extend(&segments, more)?;
        }
    }

    /// Asks for a segment and checks that it is the expected one.
    pub(super) async fn segment(
        &self,
        layout: &mut Layout,
        expected: &ExpectedSegment,
    ) -> Result<SegmentDownload> {
        let segment = self.ask(expected, false).await?;
        self.accept(layout, segment)
    }

    fn accept(&self, layout: &mut Layout, segment: SegmentDownload) -> Result<SegmentDownload> {
        layout.confirm(segment.position, &segment.key)?;
        Ok(segment)
    }

    /// Asks for order limits of all holders of a segment that was accepted before.
    async fn all_holders(
        &self,
        mut expected: ExpectedSegment,
        key: Key,
    ) -> Result<RemoteSegment, Box<dyn std::error::Error + Send + Sync>> {
        expected.key = Some(key);
        match self.ask(&expected, true).await?.content {
            Content::Remote(segment) => Ok(segment),
            Content::Inline(_) => Err("the satellite keeps the segment itself now".into()),
        }
    }

    async fn ask(&self, expected: &ExpectedSegment, all: bool) -> Result<SegmentDownload> {
        let (satellite, stream_id) = (self.session.satellite(), self.stream_id.clone());
        let segment = satellite.download_segment(stream_id, expected, &self.keys(), all).await;
        segment.map_err(changed)
    }

    /// Reads a part of a segment's plain bytes into `output`.
    pub(super) async fn read(
        &self,
        expected: ExpectedSegment,
        segment: SegmentDownload,
        range: Range<u64>,
        output: &mpsc::Sender<Result<Bytes>>,
    ) -> Result<()> {
        let SegmentDownload { position, plain_size, key, content } = segment;
        let remote = match content {
            Content::Inline(sealed) => {
                let cipher = ContentCipher::new(self.parameters.suite, &key)?;
                let plain = cipher.open_whole(&segment_start_nonce(position), &sealed)?;
                return send(output, slice(&plain.into(), &range)?).await;
            }
            Content::Remote(remote) => remote,
        };
        let cipher = SegmentCipher::new(self.parameters, &key, position)?;
        let all_holders = Box::pin(self.all_holders(expected, key));
        let read = Read { cipher, plain_size, range };
        download(self.session.transfers(), remote, read, all_holders, output).await?;
        Ok(())
    }

    /// R5: opens the end of the last segment. Whole blocks authenticate; that the last one ends in
    /// the padding of exactly this size shows that nothing was cut off.
    async fn check_end(&self, layout: &mut Layout, last: &ListedSegment) -> Result<()> {
        let extent = Extent { offset: last.offset, size: last.plain_size };
        let (key, inline) = (Some(last.key.clone()), Some(extent.is_inline()));
        let expected = ExpectedSegment { position: last.position, extent, key, inline };
        let mut segment = self.segment(layout, &expected).await?;
        let in_block = layout::in_block_size(self.parameters.block_size)?;
        let mut padding = Vec::new();
        let mut range = 0..extent.size;
        if !extent.is_inline() {
            append_padding(&mut padding, extent.size, in_block)?;
            // As if the padding were content: the same blocks hold both.
            segment.plain_size = extent.size.saturating_add(padding.len() as u64);
            range = extent.size..segment.plain_size;
        }
        let (sender, mut output) = mpsc::channel(1);
        let reading = async move { self.read(expected, segment, range, &sender).await };
        let comparing = async {
            let mut end = Vec::new();
            while let Some(bytes) = output.recv().await {
                end.extend_from_slice(&bytes?);
            }
            Ok::<_, Error>(end)
        };
        let (read, end) = tokio::join!(reading, comparing);
        read?;
        if end? == padding || extent.is_inline() {
            return Ok(());
        }
        Err(unauthenticated("its last segment was cut off"))
    }
}

/// The segments of a version that is gone are not found.
fn changed(error: Error) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let text = "object was replaced or deleted while it was being read";
    Error::new(ErrorKind::ObjectChanged, text).with_source(error)
}

async fn send(output: &mpsc::Sender<Result<Bytes>>, plain: Bytes) -> Result<()> {
    if plain.is_empty() {
        return Ok(());
    }
    let gone = |_| Error::new(ErrorKind::Internal, "the download was dropped");
    output.send(Ok(plain)).await.map_err(gone)
}

fn slice(plain: &Bytes, range: &Range<u64>) -> Result<Bytes> {
    let index = |at: u64| usize::try_from(at).ok().filter(|at| *at <= plain.len());
    match (index(range.start), index(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(plain.slice(start..end)),
        _ => Err(Error::protocol("an inline segment is shorter than its listed size")),
    }
}
