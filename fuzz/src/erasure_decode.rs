use uplink_core::erasure::{Code, Decoder, Encoder, Scheme};

use super::input::Input;

/// Input: a code, piece numbers and shares. The whole input is also parsed as the text of a scheme.
pub fn erasure_decode(data: &[u8]) {
    assert_scheme(&String::from_utf8_lossy(data));
    let mut input = Input::new(data);
    let required = u16::from(input.byte());
    let redundant = u16::from(input.byte());
    let share_size = usize::from(input.byte());
    let Ok(code) = Code::new(required, required + redundant) else {
        assert!(required == 0 || required + redundant > 256);
        return;
    };
    let numbers: Vec<u16> = input.bytes(required.into()).iter().copied().map(u16::from).collect();
    let Ok(decoder) = Decoder::with_code(code, share_size.max(1), &numbers) else {
        let is_complete = numbers.len() == usize::from(required);
        let in_range = numbers.iter().all(|number| *number < code.total());
        let mut distinct = numbers.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(!is_complete || !in_range || distinct.len() < numbers.len());
        return;
    };
    let shares = input.rest();
    let run = shares.len() / numbers.len();
    let shares: Vec<&[u8]> = shares.chunks_exact(run.max(1)).take(numbers.len()).collect();
    let mut stripes = vec![0; run * numbers.len()];
    if decoder.decode(&shares, &mut stripes).is_err() {
        assert!(shares.len() < numbers.len() || !run.is_multiple_of(share_size.max(1)));
        return;
    }
    // Any k shares belong to some stripe: encoding the stripe returns the same shares.
    let encoder = Encoder::with_code(code, share_size.max(1));
    for (number, share) in numbers.iter().zip(shares) {
        let mut encoded = vec![0; run];
        encoder.encode_piece(&stripes, *number, &mut encoded).expect("a piece of the code");
        assert_eq!(encoded, share);
    }
}

fn assert_scheme(text: &str) {
    if let Ok(scheme) = text.parse::<Scheme>() {
        assert_eq!(scheme.to_string().parse(), Ok(scheme));
        assert!(scheme.required() <= scheme.optimal() && scheme.optimal() <= scheme.total());
    }
}
