//! The erasure code and other implementations: `cargo xtask bench erasure [-- CASE …]`.
//!
//! Encoding computes the parity of a window of 64 stripes with shares of 256 bytes; decoding
//! restores the stripes from the windows of k pieces, some of them parity. All candidates process
//! the same bytes and their results are compared outside the measured time. Rates are of data
//! bytes.
//!
//! Intel ISA-L is loaded if available (`benches/isa_l/mod.rs`). `reed-solomon-erasure` uses other
//! evaluation points, so only its speed is comparable.

use isa_l::{IsaL, Tables};
use measure::{Candidate, Figure, Table, bytes, measure, report};
use reed_solomon_erasure::galois_8::ReedSolomon;
use reed_solomon_erasure_accel::galois_8::ReedSolomon as ReedSolomonAccel;
use uplink_core::erasure::{Code, Decoder, Encoder, Kernel};

mod isa_l;
mod measure;

const CODES: [(u16, u16); 6] = [(29, 80), (29, 110), (29, 35), (16, 37), (10, 14), (4, 10)];
const SHARE: usize = 256;
const STRIPES: usize = 64;
const RUN: usize = SHARE * STRIPES;

fn main() {
    let only: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |case: &str| only.is_empty() || only.iter().any(|part| case.contains(part));
    let isa_l = IsaL::load();
    match &isa_l {
        Ok(isa_l) => println!("ISA-L: {}", isa_l.name()),
        Err(reason) => println!("no rows of ISA-L: {reason}"),
    }
    println!("kernel of this processor: {}", Kernel::fastest());
    let isa_l = isa_l.ok();
    let mut table =
        Table::new(&["case", "GB/s", "of ISA-L", "of crate", "of simd-accel", "prepare µs"]);
    for (required, total) in CODES {
        let bench = Bench::new(required, total);
        let case = format!("encode {required}/{total}");
        if wanted(&case) {
            let figures = bench.encode(isa_l.as_ref());
            bench.row(&case, &figures, bench.preparing_encoder(), &mut table);
        }
        for (name, missing) in bench.losses() {
            let case = format!("decode {required}/{total}, {name} missing ({missing})");
            if wanted(&case) {
                let figures = bench.decode(missing, isa_l.as_ref());
                bench.row(&case, &figures, bench.preparing_decoder(missing), &mut table);
            }
        }
    }
    table.print();
}

/// Allocates windows of pieces, not a power of two apart: otherwise all would share a few cache
/// lines.
fn empty(pieces: usize) -> Vec<Vec<u8>> {
    let mut windows: Vec<Vec<u8>> = (0..pieces).map(|_| Vec::with_capacity(RUN + 64)).collect();
    windows.iter_mut().for_each(|window| window.resize(RUN, 0));
    windows
}

struct Bench {
    code: Code,
    /// Whole stripes.
    stripes: Vec<u8>,
    /// The window of every piece.
    pieces: Vec<Vec<u8>>,
}

impl Bench {
    fn new(required: u16, total: u16) -> Self {
        let code = Code::new(required, total).expect("a code");
        let stripes = bytes(usize::from(required) * RUN);
        let wanted: Vec<u16> = (0..total).collect();
        let mut pieces = empty(wanted.len());
        Encoder::with_code(code, SHARE).encode(&stripes, &wanted, &mut pieces).expect("encoded");
        Self { code, stripes, pieces }
    }

    fn required(&self) -> usize {
        self.code.required().into()
    }

    fn parity(&self) -> usize {
        usize::from(self.code.total()) - self.required()
    }

    /// Returns the numbers of missing data pieces: none, one, as many as random pieces miss, all.
    fn losses(&self) -> Vec<(&'static str, usize)> {
        let k = self.required();
        let parity = self.parity();
        let n = self.required() + self.parity();
        let expected = (k * parity + n / 2) / n;
        vec![("0", 0), ("1", 1), ("expected", expected), ("all", k.min(parity))]
    }

    fn encode(&self, isa_l: Option<&IsaL>) -> Vec<Figure> {
        let k = self.required();
        let parity = self.parity();
        let wanted: Vec<u16> = (self.code.required()..self.code.total()).collect();
        let expected = &self.pieces[k..];
        let candidates = Kernel::available().len() + 3;
        let mut buffers: Vec<_> = (0..candidates).map(|_| empty(parity)).collect();
        let mut buffers_left = buffers.iter_mut();
        let mut buffer = || buffers_left.next().expect("a buffer for each candidate");
        let mut candidates = Vec::new();
        for kernel in Kernel::available() {
            let encoder = Encoder::with_kernel(self.code, SHARE, kernel);
            let out = buffer();
            let wanted = &wanted;
            candidates.push(Candidate::new(kernel.to_string(), move || {
                encoder.encode(&self.stripes, wanted, out).expect("encoded");
            }));
        }
        if let Some(isa_l) = isa_l {
            let mut tables = self.parity_tables(isa_l);
            let out = buffer();
            candidates.push(Candidate::new("ISA-L", move || {
                for (at, stripe) in self.stripes.chunks_exact(k * SHARE).enumerate() {
                    let shares = out.iter_mut().map(|piece| &mut piece[at * SHARE..][..SHARE]);
                    isa_l.multiply(&mut tables, SHARE, stripe.chunks_exact(SHARE), shares);
                }
            }));
        }
        let crate_default = ReedSolomon::new(k, parity).expect("a code");
        let out = buffer();
        candidates.push(Candidate::new("crate", move || {
            self.each_stripe(out, |data, parity| {
                crate_default.encode_sep(data, parity).expect("encoded")
            });
        }));
        let accelerated = ReedSolomonAccel::new(k, parity).expect("a code");
        let out = buffer();
        candidates.push(Candidate::new("simd-accel", move || {
            self.each_stripe(out, |data, parity| {
                accelerated.encode_sep(data, parity).expect("encoded")
            });
        }));
        let figures = measure(candidates);
        let ours = Kernel::available().len() + usize::from(isa_l.is_some());
        assert!(buffers[..ours].iter().all(|made| made == expected), "parity differs");
        figures
    }

    fn each_stripe(&self, out: &mut [Vec<u8>], encode: impl Fn(&[&[u8]], &mut [&mut [u8]])) {
        for (at, stripe) in self.stripes.chunks_exact(self.required() * SHARE).enumerate() {
            let data: Vec<&[u8]> = stripe.chunks_exact(SHARE).collect();
            let mut parity: Vec<&mut [u8]> =
                out.iter_mut().map(|piece| &mut piece[at * SHARE..][..SHARE]).collect();
            encode(&data, &mut parity);
        }
    }

    /// Returns k pieces, without the first `missing` data pieces.
    fn held(&self, missing: usize) -> Vec<u16> {
        (missing as u16..missing as u16 + self.code.required()).collect()
    }

    fn decode(&self, missing: usize, isa_l: Option<&IsaL>) -> Vec<Figure> {
        let held = self.held(missing);
        let shares: Vec<&[u8]> =
            held.iter().map(|&piece| &self.pieces[usize::from(piece)][..]).collect();
        let mut buffers: Vec<Vec<u8>> =
            vec![vec![0; self.stripes.len()]; Kernel::available().len() + 1];
        let mut buffers_left = buffers.iter_mut();
        let mut candidates = Vec::new();
        for kernel in Kernel::available() {
            let decoder = Decoder::with_kernel(self.code, SHARE, &held, kernel).expect("a decoder");
            let shares = &shares;
            let out = buffers_left.next().expect("a buffer");
            candidates.push(Candidate::new(kernel.to_string(), move || {
                decoder.decode(shares, out).expect("decoded");
            }));
        }
        if let Some(isa_l) = isa_l {
            let mut tables = (missing > 0).then(|| self.missing_tables(isa_l, missing));
            let shares = &shares;
            let out = buffers_left.next().expect("a buffer");
            candidates.push(Candidate::new("ISA-L", move || {
                for (at, stripe) in out.chunks_exact_mut(self.required() * SHARE).enumerate() {
                    let (lost, present) = stripe.split_at_mut(missing * SHARE);
                    for (to, run) in present.chunks_exact_mut(SHARE).zip(shares) {
                        to.copy_from_slice(&run[at * SHARE..][..SHARE]);
                    }
                    if let Some(tables) = &mut tables {
                        let inputs = shares.iter().map(|run| &run[at * SHARE..][..SHARE]);
                        isa_l.multiply(tables, SHARE, inputs, lost.chunks_exact_mut(SHARE));
                    }
                }
            }));
        }
        let figures = measure(candidates);
        let used = Kernel::available().len() + usize::from(isa_l.is_some());
        assert!(buffers[..used].iter().all(|made| *made == self.stripes), "stripes differ");
        figures
    }

    fn parity_tables(&self, isa_l: &IsaL) -> Tables {
        let encoder = Encoder::with_code(self.code, SHARE);
        let rows = self.code.required()..self.code.total();
        let factors = rows.flat_map(|row| encoder.parity_row(row).expect("a row").to_vec());
        isa_l.tables(self.required(), &factors.collect::<Vec<u8>>())
    }

    /// Decodes unit shares, which gives the columns of the matrix.
    fn missing_tables(&self, isa_l: &IsaL, missing: usize) -> Tables {
        let k = self.required();
        let decoder = Decoder::with_code(self.code, 1, &self.held(missing)).expect("a decoder");
        let mut factors = vec![0; missing * k];
        for column in 0..k {
            let units: Vec<[u8; 1]> = (0..k).map(|row| [u8::from(row == column)]).collect();
            let mut data = vec![0; k];
            decoder.decode(&units, &mut data).expect("decoded");
            for row in 0..missing {
                factors[row * k + column] = data[row];
            }
        }
        isa_l.tables(k, &factors)
    }

    fn preparing_encoder(&self) -> f64 {
        let prepare = || drop(std::hint::black_box(Encoder::with_code(self.code, SHARE)));
        measure(vec![Candidate::new("prepare", prepare)])[0].best
    }

    fn preparing_decoder(&self, missing: usize) -> f64 {
        let held = self.held(missing);
        let prepare = || {
            drop(std::hint::black_box(
                Decoder::with_code(self.code, SHARE, &held).expect("a decoder"),
            ));
        };
        measure(vec![Candidate::new("prepare", prepare)])[0].best
    }

    fn row(&self, case: &str, figures: &[Figure], preparing: f64, table: &mut Table) {
        report("erasure", case, self.stripes.len(), figures);
        let find = |name: &str| figures.iter().find(|figure| figure.name == name);
        let Some(ours) = find(&Kernel::fastest().to_string()) else { return };
        let ratio = |name: &str| {
            find(name)
                .map_or_else(|| "–".to_owned(), |other| format!("{:.2}", other.best / ours.best))
        };
        table.row(vec![
            case.to_owned(),
            format!("{:.2}", ours.rate(self.stripes.len())),
            ratio("ISA-L"),
            ratio("crate"),
            ratio("simd-accel"),
            format!("{:.1}", preparing * 1e6),
        ]);
    }
}
