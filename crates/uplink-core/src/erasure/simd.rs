//! The code's arithmetic on vector instructions: the only unsafe code of this crate.
//!
//! One generic implementation serves three instruction sets. [`multiply`] is safe to call: it checks
//! that every pointer stays inside a slice, and only [`detected`] reports available instructions. The
//! caller handles the remainder of a share that does not fill a vector.
//!
//! A block of rows and vectors stays in registers across all columns. Input is read and output
//! written in place; nothing is transposed.

#![allow(unsafe_code)]
// The functions consist of pointer accesses and intrinsics. The contracts of `Isa` and `Job` cover
// all of them; an unsafe block per line would add no information.
#![allow(unsafe_op_in_unsafe_fn)]
// Rows and vectors have constant counts, so that these loops unroll into registers.
#![allow(clippy::needless_range_loop)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

use reed_solomon_erasure::galois_8::mul;

use super::toeplitz::{BLOCKS, MAX_SIDE, PRODUCTS, Toeplitz};
use super::window::{Instructions, Sink, Source, Window};

/// Returns the instruction sets that this processor supports, the slowest first.
pub(super) fn detected() -> impl Iterator<Item = Instructions> {
    let avx2 = is_x86_feature_detected!("avx2");
    let gfni = avx2 && is_x86_feature_detected!("gfni");
    let avx512 =
        gfni && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    [(avx2, Instructions::Avx2), (gfni, Instructions::Avx2Gfni), (avx512, Instructions::Avx512Gfni)]
        .into_iter()
        .filter_map(|(present, instructions)| present.then_some(instructions))
}

/// Sets every wanted row of `sink` to its product with `source`, and performs the copies of `sink`,
/// for the leading bytes of each share that fill whole vectors. Returns the number of these bytes:
/// zero when there is nothing to multiply.
///
/// `table` and `stacks` must be the results of [`table()`] and [`Stacks::new`] for the same
/// instructions.
pub(super) fn multiply(
    instructions: Instructions,
    table: &[u64],
    stacks: Option<&Stacks>,
    window: Window,
    source: &Source<'_>,
    sink: &mut Sink<'_>,
) -> usize {
    let columns = source.runs().0.len();
    let words = words(instructions);
    if words == 0 || window.share_size < 32 {
        return 0;
    }
    let mut job = Job::new(table, columns * words, window, source, sink);
    if job.rows.is_empty() {
        return 0;
    }
    if let Some(form) = stacks {
        assert!(form.scale.len() == (columns - 1) * words, "form of a different code");
        assert!(form.ends.len() == 2 * words * job.rows.len(), "form of a different code");
    }
    // SAFETY: `Job::new` checked the pointers, and the assertions above that the form has factors for
    // all columns and rows. `instructions` values exist only if the processor supports them.
    unsafe {
        match instructions {
            Instructions::Portable => 0,
            Instructions::Avx2 => with_avx2(&mut job, stacks),
            Instructions::Avx2Gfni => with_avx2_gfni(&mut job, stacks),
            Instructions::Avx512Gfni => with_avx512_gfni(&mut job, stacks),
        }
    }
}

/// Converts factors to the representation of an instruction set.
pub(super) fn table(instructions: Instructions, factors: &[u8]) -> Vec<u64> {
    match instructions {
        Instructions::Portable => Vec::new(),
        Instructions::Avx2 => {
            factors.iter().flat_map(|&factor| NIBBLES[usize::from(factor)]).collect()
        }
        Instructions::Avx2Gfni | Instructions::Avx512Gfni => {
            factors.iter().map(|&factor| BIT_MATRICES[usize::from(factor)]).collect()
        }
    }
}

/// Words per converted factor.
const fn words(instructions: Instructions) -> usize {
    match instructions {
        Instructions::Portable => 0,
        Instructions::Avx2 => Avx2::WORDS,
        Instructions::Avx2Gfni | Instructions::Avx512Gfni => 1,
    }
}

/// Multiplication by each factor as a bit matrix: bit i of `factor · 2^j` is bit j of byte 7 − i.
/// The processor's own GF(2⁸) multiplication uses a different polynomial.
static BIT_MATRICES: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|factor| {
        (0..64_u32).fold(0, |matrix, bit| {
            let i = bit / 8;
            let j = bit % 8;
            let bit = u64::from(mul(factor as u8, 1 << j) >> i & 1);
            matrix | bit << (8 * (7 - i) + j)
        })
    })
});

/// Multiplication by each factor as its products with all low and all high nibbles.
static NIBBLES: LazyLock<[[u64; Avx2::WORDS]; 256]> = LazyLock::new(|| {
    std::array::from_fn(|factor| {
        std::array::from_fn(|word| {
            let product = |byte: usize| {
                let nibble = (word % 2 * 8 + byte) as u8;
                mul(factor as u8, if word < 2 { nibble } else { nibble << 4 })
            };
            u64::from_le_bytes(std::array::from_fn(product))
        })
    })
});

/// A Toeplitz form in the representation of an instruction set.
pub(super) struct Stacks {
    side: usize,
    scale: Vec<u64>,
    /// In multiplication order: groups of rows, column by column.
    stacks: Vec<[Vec<u64>; PRODUCTS]>,
    /// Two factors for each row.
    ends: Vec<u64>,
}

impl Stacks {
    pub(super) fn new(instructions: Instructions, form: &Toeplitz) -> Self {
        let side = form.side;
        let together = match instructions {
            Instructions::Portable => side,
            Instructions::Avx2 => Avx2::STACK_ROWS,
            Instructions::Avx2Gfni => Avx2Gfni::STACK_ROWS,
            Instructions::Avx512Gfni => Avx512Gfni::STACK_ROWS,
        };
        let product = |factors: &Vec<u8>| {
            let by_column = factors.chunks(together * side).flat_map(|rows| {
                (0..side).flat_map(move |column| rows.iter().skip(column).step_by(side).copied())
            });
            table(instructions, &by_column.collect::<Vec<u8>>())
        };
        Self {
            side,
            scale: table(instructions, &form.scale),
            stacks: form.stacks.iter().map(|stack| stack.each_ref().map(product)).collect(),
            ends: table(instructions, form.ends.as_flattened()),
        }
    }

    /// Whether computing `rows` rows of a stack this way costs less than the plain form.
    fn is_cheaper_for(&self, rows: usize) -> bool {
        rows * (BLOCKS * self.side - 1) > (PRODUCTS + 1) * self.side * self.side
    }
}

/// One wanted row: its factors, and the destination of its share of stripe 0.
#[derive(Clone, Copy)]
struct Row {
    factors: *const u64,
    output: *mut u8,
}

/// A multiplication as raw pointers.
///
/// Invariant, checked by [`Job::new`]: `share_size` bytes are valid at every pointer of `inputs`,
/// `rows` and `copies` plus up to `stripes − 1` steps.
struct Job {
    inputs: Vec<*const u8>,
    input_step: usize,
    /// By row number; `None` for rows that are not wanted.
    rows: Vec<Option<Row>>,
    /// Inputs to copy, each with the destination of its share of stripe 0.
    copies: Vec<(*const u8, *mut u8)>,
    output_step: usize,
    share_size: usize,
    stripes: usize,
}

impl Job {
    fn new(
        table: &[u64],
        words_of_row: usize,
        window: Window,
        source: &Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Self {
        let Window { share_size, stripes } = window;
        let last = |step: usize| stripes.saturating_sub(1) * step + share_size;
        let (runs, input_step) = source.runs();
        assert!(runs.iter().all(|run| run.len() >= last(input_step)), "run is too short");
        let inputs: Vec<*const u8> = runs.iter().map(|run| run.as_ptr()).collect();
        let (outputs, copies, output_step) = outputs(sink, window, &inputs);
        let tables = table.chunks_exact(words_of_row);
        assert!(tables.len() >= outputs.len(), "output without factors");
        let rows = tables.zip(outputs).map(|(factors, output)| {
            output.map(|output| Row { factors: factors.as_ptr(), output })
        });
        Self { inputs, input_step, rows: rows.collect(), copies, output_step, share_size, stripes }
    }
}

/// Destination of the share of stripe 0 of each row.
type Outputs = Vec<Option<*mut u8>>;
/// Sources and destinations of copied shares of stripe 0.
type Copies = Vec<(*const u8, *mut u8)>;

/// Returns the destinations of a sink, and the bytes from a destination to that of the next stripe.
fn outputs(sink: &mut Sink<'_>, window: Window, inputs: &[*const u8]) -> (Outputs, Copies, usize) {
    let Window { share_size, stripes: count } = window;
    match sink {
        Sink::Pieces(pieces) => {
            let pointer = |piece: &mut Option<&mut [u8]>| {
                let piece = piece.as_mut()?;
                assert!(piece.len() >= count * share_size, "output is too short");
                Some(piece.as_mut_ptr())
            };
            (pieces.iter_mut().map(pointer).collect(), Vec::new(), share_size)
        }
        Sink::Stripes { stripes, stripe_size, numbers, copies } => {
            assert!(stripes.len() >= count * *stripe_size, "output is too short");
            let first = stripes.as_mut_ptr();
            let pointer = |number: usize| {
                assert!((number + 1) * share_size <= *stripe_size, "share outside its stripe");
                first.wrapping_add(number * share_size)
            };
            let outputs = numbers.iter().map(|&number| Some(pointer(number))).collect();
            let copies =
                copies.iter().map(|copy| (inputs[copy.column], pointer(copy.number))).collect();
            (outputs, copies, *stripe_size)
        }
    }
}

/// A vector instruction set.
///
/// # Safety
///
/// The processor must support the instructions. Pointers must be valid for [`Self::BYTES`] bytes, or
/// [`Self::WORDS`] words for factors.
trait Isa {
    type Vector: Copy;
    /// A vector in the representation that is multiplied.
    type Data: Copy;
    type Factor: Copy;
    /// Bytes per vector.
    const BYTES: usize;
    /// Words per converted factor.
    const WORDS: usize;
    /// Rows that fill the registers at two vectors each, in the plain and in the Toeplitz form.
    const ROWS: usize;
    const STACK_ROWS: usize;
    /// Rows that fill the registers at four vectors each, in the plain form.
    const WIDE_ROWS: usize;

    unsafe fn zero() -> Self::Vector;
    unsafe fn load(from: *const u8) -> Self::Vector;
    unsafe fn store(to: *mut u8, vector: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn data(vector: Self::Vector) -> Self::Data;
    unsafe fn factor(table: *const u64) -> Self::Factor;
    unsafe fn multiply(data: Self::Data, factor: Self::Factor) -> Self::Vector;
}

struct Avx512Gfni;

impl Isa for Avx512Gfni {
    type Vector = __m512i;
    type Data = __m512i;
    type Factor = __m512i;
    const BYTES: usize = 64;
    const WORDS: usize = 1;
    const ROWS: usize = 10;
    const STACK_ROWS: usize = 8;
    const WIDE_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        _mm512_setzero_si512()
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn store(to: *mut u8, vector: __m512i) {
        _mm512_storeu_si512(to.cast(), vector);
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_xor_si512(a, b)
    }
    #[inline(always)]
    unsafe fn data(vector: __m512i) -> __m512i {
        vector
    }
    #[inline(always)]
    unsafe fn factor(table: *const u64) -> __m512i {
        _mm512_set1_epi64(table.read() as i64)
    }
    #[inline(always)]
    unsafe fn multiply(data: __m512i, factor: __m512i) -> __m512i {
        _mm512_gf2p8affine_epi64_epi8::<0>(data, factor)
    }
}

/// Functions shared by both 256-bit instruction sets.
macro_rules! vectors_of_256_bits {
    () => {
        #[inline(always)]
        unsafe fn zero() -> __m256i {
            _mm256_setzero_si256()
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> __m256i {
            _mm256_loadu_si256(from.cast())
        }
        #[inline(always)]
        unsafe fn store(to: *mut u8, vector: __m256i) {
            _mm256_storeu_si256(to.cast(), vector);
        }
        #[inline(always)]
        unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
            _mm256_xor_si256(a, b)
        }
    };
}

struct Avx2Gfni;

impl Isa for Avx2Gfni {
    type Vector = __m256i;
    type Data = __m256i;
    type Factor = __m256i;
    const BYTES: usize = 32;
    const WORDS: usize = 1;
    const ROWS: usize = 6;
    const STACK_ROWS: usize = 6;
    const WIDE_ROWS: usize = 1;

    vectors_of_256_bits!();

    #[inline(always)]
    unsafe fn data(vector: __m256i) -> __m256i {
        vector
    }
    #[inline(always)]
    unsafe fn factor(table: *const u64) -> __m256i {
        _mm256_set1_epi64x(table.read() as i64)
    }
    #[inline(always)]
    unsafe fn multiply(data: __m256i, factor: __m256i) -> __m256i {
        _mm256_gf2p8affine_epi64_epi8::<0>(data, factor)
    }
}

struct Avx2;

impl Isa for Avx2 {
    type Vector = __m256i;
    /// The low and the high nibble of every byte.
    type Data = (__m256i, __m256i);
    /// The products with both nibbles.
    type Factor = (__m256i, __m256i);
    const BYTES: usize = 32;
    const WORDS: usize = 4;
    const ROWS: usize = 4;
    const STACK_ROWS: usize = 4;
    const WIDE_ROWS: usize = 0;

    vectors_of_256_bits!();

    #[inline(always)]
    unsafe fn data(vector: __m256i) -> (__m256i, __m256i) {
        let mask = _mm256_set1_epi8(0x0f);
        let high = _mm256_srli_epi64::<4>(vector);
        (_mm256_and_si256(vector, mask), _mm256_and_si256(high, mask))
    }
    #[inline(always)]
    unsafe fn factor(table: *const u64) -> (__m256i, __m256i) {
        let low = _mm_loadu_si128(table.cast());
        let high = _mm_loadu_si128(table.add(2).cast());
        (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high))
    }
    #[inline(always)]
    unsafe fn multiply(data: (__m256i, __m256i), factor: (__m256i, __m256i)) -> __m256i {
        _mm256_xor_si256(
            _mm256_shuffle_epi8(factor.0, data.0),
            _mm256_shuffle_epi8(factor.1, data.1),
        )
    }
}

#[target_feature(enable = "avx2")]
unsafe fn with_avx2(job: &mut Job, stacks: Option<&Stacks>) -> usize {
    run::<Avx2>(job, stacks)
}

#[target_feature(enable = "avx2,gfni")]
unsafe fn with_avx2_gfni(job: &mut Job, stacks: Option<&Stacks>) -> usize {
    run::<Avx2Gfni>(job, stacks)
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
unsafe fn with_avx512_gfni(job: &mut Job, stacks: Option<&Stacks>) -> usize {
    run::<Avx512Gfni>(job, stacks)
}

/// Computes all rows, first those for which stacks are cheaper. Returns the completed bytes per share.
#[inline(always)]
unsafe fn run<I: Isa>(job: &mut Job, stacks: Option<&Stacks>) -> usize {
    let mut taken = Vec::new();
    if let Some(form) = stacks {
        let size = BLOCKS * form.side;
        for (number, rows) in job.rows.chunks_mut(size).enumerate() {
            if form.is_cheaper_for(rows.iter().flatten().count()) {
                taken.push((number, rows.to_vec()));
                rows.fill(None);
            }
        }
        if !taken.is_empty() {
            toeplitz::<I>(job, form, &taken);
        }
    }
    let rows: Vec<Row> = job.rows.iter().flatten().copied().collect();
    plain::<I>(job, &rows);
    job.share_size - job.share_size % I::BYTES
}

/// The plain form: every row is a sum over all columns.
#[inline(always)]
unsafe fn plain<I: Isa>(job: &Job, rows: &[Row]) {
    if rows.is_empty() && job.copies.is_empty() {
        return;
    }
    // As few groups as possible, of similar size.
    let size = rows.len().div_ceil(rows.len().div_ceil(I::ROWS).max(1)).max(1);
    let groups: Vec<Group<'_>> = rows.chunks(size).map(|rows| Group::new::<I>(rows, job)).collect();
    for stripe in 0..job.stripes {
        let input = stripe * job.input_step;
        let output = stripe * job.output_step;
        let mut at = 0;
        while size <= I::WIDE_ROWS && at + 4 * I::BYTES <= job.share_size {
            all::<I, 4>(&job.inputs, input + at, &groups, output + at);
            copy::<I, 4>(&job.copies, input + at, output + at);
            at += 4 * I::BYTES;
        }
        while at + 2 * I::BYTES <= job.share_size {
            all::<I, 2>(&job.inputs, input + at, &groups, output + at);
            copy::<I, 2>(&job.copies, input + at, output + at);
            at += 2 * I::BYTES;
        }
        while at + I::BYTES <= job.share_size {
            all::<I, 1>(&job.inputs, input + at, &groups, output + at);
            copy::<I, 1>(&job.copies, input + at, output + at);
            at += I::BYTES;
        }
    }
}

/// Copies V vectors of every copied share, right after they were multiplied, while they are in the
/// L1 cache.
#[inline(always)]
unsafe fn copy<I: Isa, const V: usize>(
    copies: &[(*const u8, *mut u8)],
    input: usize,
    output: usize,
) {
    for (from, to) in copies {
        for v in 0..V {
            let vector = I::load(from.add(input + v * I::BYTES));
            I::store(to.add(output + v * I::BYTES), vector);
        }
    }
}

/// Rows that are computed together, and their factors column by column.
struct Group<'a> {
    rows: &'a [Row],
    factors: Vec<u64>,
}

impl<'a> Group<'a> {
    unsafe fn new<I: Isa>(rows: &'a [Row], job: &Job) -> Self {
        let words = |column: usize, row: &Row| {
            std::slice::from_raw_parts(row.factors.add(column * I::WORDS), I::WORDS).iter().copied()
        };
        let columns = 0..job.inputs.len();
        let factors =
            columns.flat_map(|column| rows.iter().flat_map(move |row| words(column, row)));
        Self { rows, factors: factors.collect() }
    }
}

#[inline(always)]
unsafe fn all<I: Isa, const V: usize>(
    inputs: &[*const u8],
    input: usize,
    groups: &[Group<'_>],
    output: usize,
) {
    for group in groups {
        match group.rows.len() {
            1 => block::<I, 1, V>(inputs, input, group, output),
            2 if const { fits::<I, V>(2) } => block::<I, 2, V>(inputs, input, group, output),
            3 if const { fits::<I, V>(3) } => block::<I, 3, V>(inputs, input, group, output),
            4 if const { fits::<I, V>(4) } => block::<I, 4, V>(inputs, input, group, output),
            5 if const { fits::<I, V>(5) } => block::<I, 5, V>(inputs, input, group, output),
            6 if const { fits::<I, V>(6) } => block::<I, 6, V>(inputs, input, group, output),
            7 if const { fits::<I, V>(7) } => block::<I, 7, V>(inputs, input, group, output),
            8 if const { fits::<I, V>(8) } => block::<I, 8, V>(inputs, input, group, output),
            9 if const { fits::<I, V>(9) } => block::<I, 9, V>(inputs, input, group, output),
            10 if const { fits::<I, V>(10) } => block::<I, 10, V>(inputs, input, group, output),
            rows => unreachable!("a group of {rows} rows"),
        }
    }
}

/// Returns whether the registers hold this many rows of V vectors. The other cases are not compiled:
/// they would take most of the compile time of the crate.
const fn fits<I: Isa, const V: usize>(rows: usize) -> bool {
    rows <= if V > 2 { I::WIDE_ROWS } else { I::ROWS }
}

/// Computes R rows, V vectors of each, in registers.
#[inline(always)]
unsafe fn block<I: Isa, const R: usize, const V: usize>(
    inputs: &[*const u8],
    input: usize,
    group: &Group<'_>,
    output: usize,
) {
    let mut sums = [[I::zero(); V]; R];
    let mut factors = group.factors.as_ptr();
    let pairs = inputs.chunks_exact(2);
    let last = pairs.remainder();
    for pair in pairs {
        let left = load::<I, V>(pair[0].add(input));
        let right = load::<I, V>(pair[1].add(input));
        accumulate_two::<I, R, V>(&mut sums, &left, &right, factors);
        factors = factors.add(2 * R * I::WORDS);
    }
    for from in last {
        let data = load::<I, V>(from.add(input));
        accumulate::<I, R, V>(&mut sums, &data, factors);
    }
    for row in 0..R {
        let to = group.rows[row].output.add(output);
        for v in 0..V {
            I::store(to.add(v * I::BYTES), sums[row][v]);
        }
    }
}

/// Loads V adjacent vectors for multiplication.
#[inline(always)]
unsafe fn load<I: Isa, const V: usize>(from: *const u8) -> [I::Data; V] {
    let mut data = [I::data(I::zero()); V];
    for (v, data) in data.iter_mut().enumerate() {
        *data = I::data(I::load(from.add(v * I::BYTES)));
    }
    data
}

/// Adds the products of two columns with R factors each.
#[inline(always)]
unsafe fn accumulate_two<I: Isa, const R: usize, const V: usize>(
    sums: &mut [[I::Vector; V]; R],
    left: &[I::Data; V],
    right: &[I::Data; V],
    factors: *const u64,
) {
    for row in 0..R {
        let of_left = I::factor(factors.add(row * I::WORDS));
        let of_right = I::factor(factors.add((R + row) * I::WORDS));
        for v in 0..V {
            let a = I::multiply(left[v], of_left);
            let b = I::multiply(right[v], of_right);
            sums[row][v] = I::add(I::add(sums[row][v], a), b);
        }
    }
}

/// Adds the products of one column with R factors.
#[inline(always)]
unsafe fn accumulate<I: Isa, const R: usize, const V: usize>(
    sums: &mut [[I::Vector; V]; R],
    data: &[I::Data; V],
    factors: *const u64,
) {
    for row in 0..R {
        let factor = I::factor(factors.add(row * I::WORDS));
        for v in 0..V {
            sums[row][v] = I::add(sums[row][v], I::multiply(data[v], factor));
        }
    }
}

/// The inputs of the nine products over a strip, in their order.
type Strip<I, const V: usize> = [[MaybeUninit<[<I as Isa>::Vector; V]>; MAX_SIDE]; PRODUCTS];

/// Stacks by number, and their rows.
type Taken = [(usize, Vec<Option<Row>>)];

#[inline(always)]
unsafe fn toeplitz<I: Isa>(job: &Job, form: &Stacks, taken: &Taken) {
    for stripe in 0..job.stripes {
        let input = stripe * job.input_step;
        let output = stripe * job.output_step;
        let mut at = 0;
        while at + 2 * I::BYTES <= job.share_size {
            strip::<I, 2>(&job.inputs, input + at, form, taken, output + at);
            at += 2 * I::BYTES;
        }
        while at + I::BYTES <= job.share_size {
            strip::<I, 1>(&job.inputs, input + at, form, taken, output + at);
            at += I::BYTES;
        }
    }
}

/// Computes one strip of V vectors of every share.
#[inline(always)]
unsafe fn strip<I: Isa, const V: usize>(
    inputs: &[*const u8],
    input: usize,
    form: &Stacks,
    taken: &Taken,
    output: usize,
) {
    let mut strip: Strip<I, V> = [[MaybeUninit::uninit(); MAX_SIDE]; PRODUCTS];
    prepare::<I, V>(inputs, input, form, &mut strip);
    let first = load::<I, V>(inputs[0].add(input));
    for (number, rows) in taken {
        let ends = form.ends.as_ptr().add(number * BLOCKS * form.side * 2 * I::WORDS);
        let stack = Stack::<I, V> {
            products: &form.stacks[*number],
            ends,
            side: form.side,
            rows,
            strip: &strip,
            first,
            output,
        };
        let mut from = 0;
        while from < form.side {
            from += match (form.side - from).min(I::STACK_ROWS) {
                1 => stack.rows::<1>(from),
                2 if const { I::STACK_ROWS >= 2 } => stack.rows::<2>(from),
                3 if const { I::STACK_ROWS >= 3 } => stack.rows::<3>(from),
                4 if const { I::STACK_ROWS >= 4 } => stack.rows::<4>(from),
                5 if const { I::STACK_ROWS >= 5 } => stack.rows::<5>(from),
                6 if const { I::STACK_ROWS >= 6 } => stack.rows::<6>(from),
                7 if const { I::STACK_ROWS >= 7 } => stack.rows::<7>(from),
                8 if const { I::STACK_ROWS >= 8 } => stack.rows::<8>(from),
                rows => unreachable!("a stack of {rows} rows"),
            };
        }
    }
}

/// Scales the data shares and sums the blocks for the nine products.
#[inline(always)]
unsafe fn prepare<I: Isa, const V: usize>(
    inputs: &[*const u8],
    input: usize,
    form: &Stacks,
    strip: &mut Strip<I, V>,
) {
    for i in 0..form.side {
        let mut blocks = [[I::zero(); V]; BLOCKS];
        for (block, scaled) in blocks.iter_mut().enumerate() {
            let column = block * form.side + i;
            let Some(from) = inputs.get(column + 1) else { break };
            let factor = I::factor(form.scale.as_ptr().add(column * I::WORDS));
            let data = load::<I, V>(from.add(input));
            for v in 0..V {
                scaled[v] = I::multiply(data[v], factor);
            }
        }
        for v in 0..V {
            let [a, b, c, d] = [blocks[0][v], blocks[1][v], blocks[2][v], blocks[3][v]];
            let upper = I::add(a, c);
            let lower = I::add(b, d);
            let left = I::add(a, b);
            let right = I::add(c, d);
            let nine = [I::add(upper, lower), lower, upper, right, d, c, left, b, a];
            for product in 0..PRODUCTS {
                let input = strip[product][i].as_mut_ptr();
                input.cast::<I::Vector>().add(v).write(nine[product]);
            }
        }
    }
}

/// One stack over one strip.
struct Stack<'a, I: Isa, const V: usize> {
    products: &'a [Vec<u64>; PRODUCTS],
    /// Two factors for each row.
    ends: *const u64,
    side: usize,
    rows: &'a [Option<Row>],
    strip: &'a Strip<I, V>,
    /// Data share 0.
    first: [I::Data; V],
    output: usize,
}

impl<I: Isa, const V: usize> Stack<'_, I, V> {
    /// Computes R rows of each block, starting at row `from` of the block. Returns R.
    #[inline(always)]
    unsafe fn rows<const R: usize>(&self, from: usize) -> usize {
        let mut shared = [[I::zero(); V]; R];
        self.product(0, from, &mut shared);
        let mut of_whole = [shared; 2];
        self.product(1, from, &mut of_whole[0]);
        self.product(2, from, &mut of_whole[1]);
        for half in 0..2 {
            if 2 * half * self.side + from >= self.rows.len() {
                break;
            }
            let mut shared = [[I::zero(); V]; R];
            self.product(3 + 3 * half, from, &mut shared);
            for block in 0..2 {
                let mut sums = shared;
                for row in 0..R {
                    for v in 0..V {
                        sums[row][v] = I::add(sums[row][v], of_whole[block][row][v]);
                    }
                }
                self.product(4 + 3 * half + block, from, &mut sums);
                self.end((2 * half + block) * self.side + from, &sums);
            }
        }
        R
    }

    /// Adds R rows of one of the nine products to `sums`.
    #[inline(always)]
    unsafe fn product<const R: usize>(
        &self,
        number: usize,
        from: usize,
        sums: &mut [[I::Vector; V]; R],
    ) {
        let mut factors = self.products[number].as_ptr().add(from * self.side * I::WORDS);
        let vectors = &self.strip[number][..self.side];
        let pairs = vectors.chunks_exact(2);
        let last = pairs.remainder();
        for pair in pairs {
            let left = load::<I, V>(pair[0].as_ptr().cast());
            let right = load::<I, V>(pair[1].as_ptr().cast());
            accumulate_two::<I, R, V>(sums, &left, &right, factors);
            factors = factors.add(2 * R * I::WORDS);
        }
        for vector in last {
            let data = load::<I, V>(vector.as_ptr().cast());
            accumulate::<I, R, V>(sums, &data, factors);
        }
    }

    /// Scales the sums of R rows, adds data share 0 and writes the wanted rows.
    #[inline(always)]
    unsafe fn end<const R: usize>(&self, at: usize, sums: &[[I::Vector; V]; R]) {
        for row in 0..R {
            let Some(Some(wanted)) = self.rows.get(at + row) else { continue };
            let ends = self.ends.add(2 * (at + row) * I::WORDS);
            let of_sum = I::factor(ends);
            let of_first = I::factor(ends.add(I::WORDS));
            let to = wanted.output.add(self.output);
            for v in 0..V {
                let scaled = I::multiply(I::data(sums[row][v]), of_sum);
                let vector = I::add(scaled, I::multiply(self.first[v], of_first));
                I::store(to.add(v * I::BYTES), vector);
            }
        }
    }
}
