//! An object at its satellite: everything needed to read from any offset.

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

use super::options::resolve;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    ExpectedSegment, Layout, ListedSegment, PageState, RecordedObject, Rules, Start, WholeList,
    unauthenticated,
};
use crate::location::Location;
use crate::object::attributes::{self, Object};
use crate::satellite::download::ByteRange;
use crate::satellite::{Content, ObjectKeys, ObjectRecord, SegmentDownload, SegmentPage};
use crate::session::Session;

/// An object being read. Clones share the layout of its segments.
#[derive(Clone, Debug)]
pub(super) struct Source {
    session: Session,
    parameters: EncryptionParameters,
    location: Location,
    stream_id: Bytes,
    /// Locked by one pass at a time, for its whole duration.
    layout: Arc<Mutex<Layout>>,
}

/// An opened object, with its first segment if that contains bytes of the range.
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) object: Object,
    pub(super) range: Range<u64>,
    pub(super) first: Option<SegmentDownload>,
}

/// Opens an object: checks its layout as far as its rule requires, and requests its first segment.
pub(super) async fn open(
    session: &Session,
    location: &Location,
    requested: &ByteRange,
) -> Result<Opened> {
    let offered = session.satellite().download_object(location, requested).await?;
    let rules = Rules::from(session.config());
    let parameters = offered.object.parameters()?;
    let (object, recorded) = attributes::open(location, &offered.object, rules)?;
    recorded.check_required(rules)?;
    recorded.check_block_size(parameters.block_size)?;
    let range = resolve(requested, object.size)?;
    let segments =
        Segments { session, location, parameters, stream_id: offered.object.stream_id() };
    let listed = offered.listed(&segments.keys())?;
    let page =
        PageState { more: listed.more, covers: *requested == ByteRange::Whole && !listed.more };
    let mut layout = segments.layout(recorded, &listed.segments, page, rules).await?;
    let first = if range.is_empty() {
        None
    } else {
        let expected = segments.expect(&mut layout, range.start).await?;
        let key = session.satellite().verifying_key()?;
        let first = match offered.first(&expected, &segments.keys(), &key) {
            Some(first) => segments.accept(&mut layout, first?)?,
            None => segments.fetch(&mut layout, &expected).await?,
        };
        Some(first)
    };
    let source = Source {
        session: session.clone(),
        parameters,
        location: location.clone(),
        stream_id: segments.stream_id,
        layout: Arc::new(Mutex::new(layout)),
    };
    Ok(Opened { source, object, range, first })
}

/// R7: checks that an object without an envelope has no segments of this client, if the access grant
/// permits listing them.
pub(crate) async fn check_without_envelope(
    session: &Session,
    location: &Location,
    record: &ObjectRecord,
    recorded: RecordedObject,
) -> Result<()> {
    let parameters = record.parameters()?;
    let stream_id = record.stream_id();
    let segments = Segments { session, location, parameters, stream_id };
    match segments.page(None).await {
        Ok(SegmentPage { segments, more }) => {
            let page = PageState { more, covers: !more };
            Layout::start(recorded, &segments, page, Rules::from(session.config()))?;
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Determines the layout of an object that is to be copied or updated, as far as its rule requires.
pub(crate) async fn layout_of(
    session: &Session,
    location: &Location,
    record: &ObjectRecord,
    recorded: RecordedObject,
) -> Result<Layout> {
    let parameters = record.parameters()?;
    recorded.check_block_size(parameters.block_size)?;
    let segments = Segments { session, location, parameters, stream_id: record.stream_id() };
    let unknown = PageState { more: true, covers: false };
    segments.layout(recorded, &[], unknown, Rules::from(session.config())).await
}

impl Source {
    /// Waits until no other pass is running, and locks the layout.
    pub(super) async fn lock_layout(&self) -> OwnedMutexGuard<Layout> {
        Arc::clone(&self.layout).lock_owned().await
    }

    /// Returns the object's segments at the satellite.
    pub(super) fn segments(&self) -> Segments<'_> {
        Segments {
            session: &self.session,
            location: &self.location,
            parameters: self.parameters,
            stream_id: self.stream_id.clone(),
        }
    }
}

/// The segments of one version of an object at its satellite.
pub(super) struct Segments<'a> {
    session: &'a Session,
    location: &'a Location,
    parameters: EncryptionParameters,
    stream_id: Bytes,
}

impl Segments<'_> {
    fn keys(&self) -> ObjectKeys<'_> {
        ObjectKeys { parameters: self.parameters, content_key: &self.location.content_key }
    }

    /// Lists as many of the object's segments as its rule requires before a byte is returned.
    async fn layout(
        &self,
        recorded: RecordedObject,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Layout> {
        match Layout::start(recorded, listed, page, rules)? {
            Start::Ready(layout) => Ok(layout),
            Start::Whole(list) if page.covers => self.whole(list, Some(listed)).await,
            Start::Whole(list) => self.whole(list, None).await,
            Start::AnySegment(recorded) => {
                let SegmentPage { segments, more } = self.page(None).await?;
                let page = PageState { more, covers: !more };
                match Layout::start(recorded, &segments, page, rules)? {
                    Start::Whole(list) => self.whole(list, None).await,
                    Start::Ready(layout) => Ok(layout),
                    Start::AnySegment(_) => Err(unauthenticated("the satellite lists no segments")),
                }
            }
        }
    }

    /// Reads the complete list, which may already have been listed.
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

    /// Requests one page of the segment list.
    async fn page(&self, last: Option<&ListedSegment>) -> Result<SegmentPage> {
        let after = last.map_or(SegmentPosition { part: 0, index: 0 }, |last| last.position);
        let satellite = self.session.satellite();
        let page = satellite.list_segments(self.stream_id.clone(), after, &self.keys()).await;
        page.map_err(changed)
    }

    /// Returns the segment with the byte at `offset`, as its download must match it.
    pub(super) async fn expect(&self, layout: &mut Layout, offset: u64) -> Result<ExpectedSegment> {
        loop {
            if let Some(expected) = layout.at(offset)? {
                return Ok(expected);
            }
            let SegmentPage { segments, more } = self.page(layout.list_after()).await?;
            layout.extend(&segments, more)?;
        }
    }

    /// Requests a segment and checks that it is the expected one.
    pub(super) async fn fetch(
        &self,
        layout: &mut Layout,
        expected: &ExpectedSegment,
    ) -> Result<SegmentDownload> {
        let segment = self.request(expected, false).await?;
        self.accept(layout, segment)
    }

    fn accept(&self, layout: &mut Layout, segment: SegmentDownload) -> Result<SegmentDownload> {
        layout.confirm(segment.position, &segment.key)?;
        Ok(segment)
    }

    /// Requests order limits of all holders of a segment that was accepted before.
    async fn all_holders(
        &self,
        mut expected: ExpectedSegment,
        key: Key,
    ) -> Result<RemoteSegment, Box<dyn std::error::Error + Send + Sync>> {
        expected.key = Some(key);
        match self.request(&expected, true).await?.content {
            Content::Remote(segment) => Ok(segment),
            Content::Inline(_) => Err("the segment has become inline".into()),
        }
    }

    async fn request(&self, expected: &ExpectedSegment, all: bool) -> Result<SegmentDownload> {
        let satellite = self.session.satellite();
        let stream_id = self.stream_id.clone();
        let segment = satellite.download_segment(stream_id, expected, &self.keys(), all).await;
        segment.map_err(changed)
    }

    /// Reads a range of a segment's plain bytes into `output`.
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

    /// R5: decrypts the end of the last segment. Whole blocks authenticate; that the last one ends in
    /// the padding of exactly this size proves that nothing was cut off.
    async fn check_end(&self, layout: &mut Layout, last: &ListedSegment) -> Result<()> {
        let extent = Extent { offset: last.offset, size: last.plain_size };
        let key = Some(last.key.clone());
        let inline = Some(extent.is_inline());
        let expected = ExpectedSegment { position: last.position, extent, key, inline };
        let mut segment = self.fetch(layout, &expected).await?;
        let in_block = layout::in_block_size(self.parameters.block_size)?;
        let mut padding = Vec::new();
        let mut range = 0..extent.size;
        if !extent.is_inline() {
            append_padding(&mut padding, extent.size, in_block)?;
            // Read the padding as content: it is in the same blocks.
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

/// Converts "not found": the segments of a replaced or deleted version do not exist.
fn changed(error: Error) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let text = "object was replaced or deleted while it was being read";
    Error::new(ErrorKind::ObjectChanged, text).with_included(error)
}

async fn send(output: &mpsc::Sender<Result<Bytes>>, plain: Bytes) -> Result<()> {
    if plain.is_empty() {
        return Ok(());
    }
    let gone = |_| Error::new(ErrorKind::Internal, "download cancelled");
    output.send(Ok(plain)).await.map_err(gone)
}

fn slice(plain: &Bytes, range: &Range<u64>) -> Result<Bytes> {
    let index = |at: u64| usize::try_from(at).ok().filter(|at| *at <= plain.len());
    match (index(range.start), index(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(plain.slice(start..end)),
        _ => Err(Error::protocol("an inline segment is shorter than its listed size")),
    }
}
