//! The table of attacks on the layout of an object, for objects that this client wrote: as whole
//! read, range, suffix, seek and stat, over both transports.

use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::metadata::{MetadataKeys, StreamInfo, StreamMeta};
use uplink_core::encryption::{CipherSuite, Nonce};
use uplink_rpc::r#gen::metainfo::SegmentPosition;

use super::material::{BLOCK, IN_BLOCK, Material, Shape};
use super::reading::{Attack, Findings, TRUTH, check};
use super::story::{Asked, Content, Part, Story};
use super::world::{SEGMENT, World};

/// Objects of one, two and three segments, whose last segment is empty, inline at its limit, inline,
/// remote or full.
const SHAPES: [Shape; 5] = [
    Shape::new(1, 0),
    Shape::new(1, 4096),
    Shape::new(1, 20_000),
    Shape::new(2, 100),
    Shape::new(3, SEGMENT),
];

/// Other combinations of them, for the slow tier.
const MORE_SHAPES: [Shape; 6] = [
    Shape::new(1, 1),
    Shape::new(1, 4097),
    Shape::new(1, SEGMENT),
    Shape::new(2, 30_000),
    Shape::new(3, 4096),
    Shape::new(3, 30_000),
];

/// More segments than fit into a page of a listing, each as small as a remote one can be.
const MANY: Shape = Shape { segment: 4097, count: 1001, last: 4097 };

/// Whole blocks cut off in attacks that relabel what is left.
const CUTS: [usize; 2] = [1, 4];

/// Makes a test of each row of the table, over the usual shapes, and one of all rows over the others.
macro_rules! rows {
    ($($test:ident: $row:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                check_rows(&SHAPES, async |material| $row(material).await).await;
            }
        )*

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "slow: every attack on objects of more shapes"]
        async fn every_attack_on_more_shapes_is_refused() {
            check_rows(&MORE_SHAPES, async |material| {
                let mut attacks = Vec::new();
                $(attacks.extend($row(material).await);)*
                attacks
            })
            .await;
        }
    };
}

rows! {
    object_without_its_envelope_is_refused: without_envelope;
    object_with_an_etag_alone_is_refused: etag_alone;
    keyless_segments_are_refused: keyless;
    relabelled_segments_are_refused: relabelled;
    segments_without_their_first_blocks_are_refused: first_blocks_cut_off;
    block_served_as_inline_segment_is_refused: block_as_inline;
    segments_of_two_versions_are_refused: mixed;
    missing_segments_are_refused: missing;
    keys_of_another_kind_are_refused: other_keys;
    false_sizes_and_schemes_are_refused_or_harmless: false_numbers;
    another_key_on_a_repeated_request_is_refused: another_key_when_repeated;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: objects of 1001 segments"]
async fn attacks_on_1001_segments_are_refused() {
    check_rows(&[MANY], many_segments).await;
}

/// Reads every object under every attack, and fails with those that succeeded.
async fn check_rows(shapes: &[Shape], rows: impl AsyncFn(&Material) -> Vec<Attack>) {
    let world = World::start().await;
    let mut findings = Findings::default();
    for shape in shapes {
        let material = Material::make(&world, *shape).await;
        let truth = material.attack(TRUTH, vec![material.b.clone()]);
        check(&world, &material, &truth, &mut findings).await;
        for attack in rows(&material).await {
            check(&world, &material, &attack, &mut findings).await;
        }
    }
    findings.finish();
}

async fn without_envelope(material: &Material) -> Vec<Attack> {
    type Strip = fn(&mut Story);
    let strips: [(&str, Strip); 4] = [
        ("no metadata, key and nonce", strip),
        ("no metadata", |story| story.object.encrypted_metadata.clear()),
        ("empty stream info", |story| set_stream_info(story, Vec::new())),
        ("no metadata key", strip_key),
    ];
    let mut attacks = Vec::new();
    for (name, strip) in strips {
        for kept in 0..=material.b.segments.len() {
            let attack = material.edit(format!("{name}, {kept} segments kept"), |story| {
                strip(story);
                story.segments.truncate(kept);
                story.settle();
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

async fn etag_alone(material: &Material) -> Vec<Attack> {
    let etag = etag(material);
    let kept = 1..=material.b.segments.len();
    let attack = |kept| {
        let attack = material.edit(format!("an ETag alone, {kept} segments kept"), |story| {
            set_stream_info(story, Vec::new());
            story.object.encrypted_etag = etag.clone().into();
            story.segments.truncate(kept);
            story.settle();
        });
        attack.refused()
    };
    kept.map(attack).collect()
}

async fn keyless(material: &Material) -> Vec<Attack> {
    let keyless = |part: &mut Part| {
        part.item.encrypted_key.clear();
        part.item.encrypted_key_nonce.clear();
    };
    let mut attacks = Vec::new();
    for (name, part_number) in [("part 0", 0), ("part 1", 1)] {
        for stripped in [false, true] {
            let name = format!("keyless segments in {name}, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                for part in &mut story.segments {
                    keyless(part);
                    place(part).part_number = part_number;
                }
                if stripped {
                    strip(story);
                }
            });
            attacks.push(if stripped { attack.refused() } else { attack.refused_reads() });
        }
    }
    let unlisted = material.edit("listed key missing", |story| {
        for part in &mut story.segments {
            let item = &part.item;
            part.key = Some((item.encrypted_key.clone(), item.encrypted_key_nonce.clone()));
            keyless(part);
        }
    });
    attacks.push(unlisted.refused_whole());
    attacks
}

async fn relabelled(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        for by in [1, 7] {
            let name = format!("relabelled by {by}, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.iter_mut().for_each(|part| place(part).index += by);
                if stripped {
                    strip(story);
                }
            });
            attacks.push(attack.refused_whole());
        }
    }
    attacks
}

async fn first_blocks_cut_off(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for cut in CUTS {
        for place in 0..material.b.segments.len() {
            let blocks = material.blocks(place);
            if blocks.len() <= cut * BLOCK {
                continue;
            }
            let rest = &blocks[cut * BLOCK..];
            let stored = material.raw.store(&material.name(), rest).await;
            for stripped in [false, true] {
                let name = format!("segment {place} without {cut} blocks, stripped: {stripped}");
                let attack = material.edit(name, |story| {
                    cut_off(story, place, cut, stored.clone());
                    if stripped {
                        strip(story);
                    }
                });
                attacks.push(attack.refused_whole());
            }
        }
    }
    attacks
}

/// Cuts the first blocks of a segment off and relabels it and those behind it, so that what is left
/// opens: the nonces of blocks go on from one position to the next.
fn cut_off(story: &mut Story, place: usize, cut: usize, stored: (bytes::Bytes, SegmentPosition)) {
    for part in &mut story.segments[place..] {
        self::place(part).index += cut as i32;
    }
    let part = &mut story.segments[place];
    part.item.plain_size -= (cut * IN_BLOCK) as i64;
    part.content = Content::Stored(stored.0, stored.1);
    // A later segment keeps its content, which opens at its own position alone.
    story.segments.truncate(place + 1);
    story.settle();
}

async fn block_as_inline(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    // The padding is in the last block.
    let blocks = material.blocks(0);
    let whole = blocks.len().saturating_sub(BLOCK);
    for (block, bytes) in blocks[..whole].chunks(BLOCK).enumerate().take(2) {
        for stripped in [false, true] {
            let name = format!("block {block} as inline segment, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.truncate(1);
                let part = &mut story.segments[0];
                part.content = Content::Inline(bytes.to_vec().into());
                part.item.plain_size = IN_BLOCK as i64;
                place(part).index += block as i32;
                story.settle();
                if stripped {
                    strip(story);
                }
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

/// Versions of an object, or two objects, in one answer and from one call to the next.
async fn mixed(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let (a, b) = (&material.a, &material.b);
    let with = |object: &Story, segments: &Story| Story {
        object: object.object.clone(),
        segments: segments.segments.clone(),
        page: object.page,
    };
    attacks.push(material.attack("envelope of A, segments of B", vec![with(a, b)]).refused_reads());
    attacks.push(material.attack("envelope of B, segments of A", vec![with(b, a)]).refused_reads());
    let other = with(b, &material.other);
    attacks.push(material.attack("segments of another object", vec![other]).refused_reads());
    let count = b.segments.len();
    // Beyond a few segments the last one stands for all.
    for place in (0..count).filter(|place| *place < 3 || *place == count - 1) {
        let attack = material.edit(format!("segment {place} of A"), |story| {
            story.segments[place] = a.segments[place].clone();
        });
        attacks.push(attack.refused_whole());
    }
    if count > 1 {
        attacks.extend(between_calls(material));
    }
    attacks
}

/// An object that becomes another version of itself from one call to the next.
fn between_calls(material: &Material) -> Vec<Attack> {
    let (a, b) = (&material.a, &material.b);
    let paged =
        |story: &Story| Story { page: story.page.min(b.segments.len() - 1), ..story.clone() };
    let attack = |name: &str, stories, choose| material.attack(name, stories).choosing(choose);
    vec![
        attack("from A to B after the first answer", vec![a.clone(), b.clone()], |asked, _| {
            usize::from(asked != Asked::Download)
        })
        .refused_seek(),
        attack("segments of A, listed as B", vec![b.clone(), a.clone()], |asked, _| {
            usize::from(asked == Asked::Segment)
        })
        .refused_whole(),
        attack("second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(asked == Asked::List)
        }),
        attack("segments and second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(matches!(asked, Asked::List | Asked::Segment))
        })
        .refused_whole(),
        attack("true small pages", vec![paged(b)], |_, _| 0),
    ]
}

async fn missing(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for place in 0..material.b.segments.len() {
        let removed = material.edit(format!("without segment {place}, size as is"), |story| {
            story.segments.remove(place);
        });
        let settled = material.edit(format!("without segment {place}, size reduced"), |story| {
            story.segments.remove(place);
            story.settle();
        });
        attacks.extend([removed.refused_whole(), settled.refused_whole()]);
    }
    let emptied = material.edit("no segments, size 0", |story| {
        story.segments.clear();
        story.settle();
    });
    attacks.push(emptied.refused_whole());
    attacks
}

async fn other_keys(material: &Material) -> Vec<Attack> {
    let etag = etag(material);
    let object = material.b.object.clone();
    let metadata_key = (object.encrypted_metadata_encrypted_key, object.encrypted_metadata_nonce);
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        let name = format!("ETag as inline content, stripped: {stripped}");
        let attack = material.edit(name, |story| {
            story.segments.truncate(1);
            let part = &mut story.segments[0];
            part.content = Content::Inline(etag.clone().into());
            part.item.plain_size = etag.len() as i64 - 16;
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
            story.settle();
            if stripped {
                strip(story);
            }
        });
        attacks.push(attack.refused());
    }
    let key_as_content = material.edit("metadata key as content key", |story| {
        for part in &mut story.segments {
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
        }
    });
    attacks.push(key_as_content.refused_reads());
    let first = &material.b.segments[0];
    if let Content::Inline(content) = &first.content {
        let attack = material.edit("inline content as ETag", |story| {
            set_stream_info(story, Vec::new());
            story.object.encrypted_etag = content.clone();
            story.object.encrypted_metadata_encrypted_key = first.item.encrypted_key.clone();
            story.object.encrypted_metadata_nonce = first.item.encrypted_key_nonce.clone();
        });
        attacks.push(attack.refused());
    }
    attacks
}

async fn false_numbers(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let (size, full) = (material.shape.size() as i64, SEGMENT as i64);
    for false_size in [1, size + 1, size - 1, size + full, size - full, 1 << 40, i64::MAX, -1] {
        // Size 0 means that none is said.
        if false_size != size && false_size != 0 {
            let attack = material.edit(format!("object of {false_size} bytes"), |story| {
                story.object.plain_size = false_size;
            });
            attacks.push(attack.refused_whole());
        }
    }
    attacks.push(material.edit("object of 0 bytes", |story| story.object.plain_size = 0));
    for count in [0, 1, 2, 999, -1] {
        attacks.push(material.edit(format!("{count} segments"), |story| {
            let meta = StreamMeta::decode(&story.object.encrypted_metadata).expect("metadata");
            let meta = StreamMeta { number_of_segments: count, ..meta };
            story.object.encrypted_metadata = meta.encode().into();
        }));
    }
    for (suite, block_size) in
        [(2, 7425), (2, 14_848), (2, 32), (2, 0), (2, -1), (1, 7424), (3, 7424), (100, 7424)]
    {
        attacks.push(material.edit(format!("suite {suite}, block of {block_size}"), |story| {
            let parameters = story.object.encryption_parameters.as_mut().expect("parameters");
            (parameters.cipher_suite, parameters.block_size) = (suite, block_size);
        }));
    }
    attacks.extend(false_segments(material));
    attacks
}

/// Lies about single segments.
fn false_segments(material: &Material) -> Vec<Attack> {
    type Edit = fn(&mut Part);
    let edits: [(&str, Edit); 10] = [
        ("offset one further", |part| part.item.plain_offset += 1),
        ("offset one segment further", |part| part.item.plain_offset += SEGMENT as i64),
        ("offset 0", |part| part.item.plain_offset = 0),
        ("one byte more", |part| part.item.plain_size += 1),
        ("one byte less", |part| part.item.plain_size -= 1),
        ("no bytes", |part| part.item.plain_size = 0),
        ("one piece more to read it", |part| {
            part.change = |reply| scheme(reply, |s| s.min_req += 1)
        }),
        ("one piece less to read it", |part| {
            part.change = |reply| scheme(reply, |s| s.min_req -= 1)
        }),
        ("shares half as large", |part| {
            part.change = |reply| scheme(reply, |scheme| scheme.erasure_share_size /= 2);
        }),
        ("pieces in another order", |part| part.change = |reply| reply.addressed_limits.reverse()),
    ];
    let mut attacks = Vec::new();
    for place in 0..material.b.segments.len() {
        for (name, edit) in edits {
            attacks.push(material.edit(format!("segment {place}: {name}"), |story| {
                edit(&mut story.segments[place]);
            }));
        }
    }
    attacks
}

fn scheme(
    reply: &mut uplink_rpc::r#gen::metainfo::DownloadSegmentResponse,
    edit: fn(&mut uplink_rpc::r#gen::pointerdb::RedundancyScheme),
) {
    reply.redundancy_scheme.iter_mut().for_each(edit);
}

async fn another_key_when_repeated(material: &Material) -> Vec<Attack> {
    if material.blocks(0).is_empty() {
        return Vec::new();
    }
    let mut unreachable = material.b.clone();
    for part in &mut unreachable.segments {
        part.change = |reply| {
            for limit in &mut reply.addressed_limits {
                if let Some(address) = &mut limit.storage_node_address {
                    address.address = "127.255.255.254:1".to_owned();
                }
            }
        };
    }
    // The first segment comes with the object, its repetition is a call of its own.
    let choose = |asked, _| usize::from(asked == Asked::Segment);
    let stories = vec![unreachable, material.a.clone()];
    let attack = material.attack("segments of A when asked again", stories);
    vec![attack.choosing(choose).refused_whole()]
}

/// More segments than a page of a listing holds.
async fn many_segments(material: &Material) -> Vec<Attack> {
    let mut attacks = mixed(material).await;
    for kept in [0, 1, 999, 1000] {
        for stripped in [false, true] {
            let name = format!("{kept} segments kept, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.truncate(kept);
                story.settle();
                if stripped {
                    strip(story);
                }
            });
            // Without a segment no size is said, and stat tells the one that the writer recorded.
            let tells_size = kept == 0 && !stripped;
            attacks.push(if tells_size { attack.refused_reads() } else { attack.refused() });
        }
    }
    attacks
}

/// Takes away everything by which the object says what it is made of.
fn strip(story: &mut Story) {
    story.object.encrypted_metadata.clear();
    story.object.encrypted_metadata_encrypted_key.clear();
    story.object.encrypted_metadata_nonce.clear();
}

fn set_stream_info(story: &mut Story, encrypted_stream_info: Vec<u8>) {
    let meta = StreamMeta::decode(&story.object.encrypted_metadata).expect("metadata");
    story.object.encrypted_metadata = StreamMeta { encrypted_stream_info, ..meta }.encode().into();
}

/// Removes the wrapped metadata key from the object and from the clear part of its metadata, from
/// which the client would take it otherwise.
fn strip_key(story: &mut Story) {
    story.object.encrypted_metadata_encrypted_key.clear();
    let meta = StreamMeta::decode(&story.object.encrypted_metadata).expect("metadata");
    let meta = StreamMeta { last_segment_meta: None, ..meta };
    story.object.encrypted_metadata = meta.encode().into();
}

/// An ETag under the object's own metadata key, as a client that writes ETags would have sealed it.
fn etag(material: &Material) -> Vec<u8> {
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &material.content_key,
        metadata_key: &material.metadata_key(),
        metadata_key_nonce: Nonce::ZERO,
    };
    let sealed = keys.seal(&StreamInfo::default(), b"an ETag of twenty bytes").expect("sealed");
    assert!(ContentCipher::new(CipherSuite::AesGcm, &material.metadata_key()).is_ok());
    sealed.encrypted_etag
}

fn place(part: &mut Part) -> &mut SegmentPosition {
    part.item.position.as_mut().expect("a position")
}
