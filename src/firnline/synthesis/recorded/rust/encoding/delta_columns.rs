//! Compact encoding of time series: zigzag, variable-length integers, and double deltas.
//!
//! Problem: a sensor sends (time, value) every ten seconds. Sixteen bytes per sample are far
//! too many, because times advance evenly and values change little. Times are stored as the
//! CHANGE of the difference to the previous time (mostly zero), values as plain differences.
//! Small numbers then take one byte: zigzag maps 0, -1, 1, -2 to 0, 1, 2, 3, and a variable-
//! length integer uses seven bits per byte with a flag for "more follows".

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub time: i64,
    pub value: i64,
}

#[derive(Debug, PartialEq)]
pub enum DecodeError {
    /// The data ends within a number.
    UnexpectedEnd,
    /// The number that starts at this byte does not fit into 64 bits.
    NumberTooLong { at: usize },
    /// So many bytes follow the last sample.
    TrailingBytes(usize),
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads numbers from the front of a byte slice.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(DecodeError::UnexpectedEnd)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break; // would not fit into 64 bits
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(DecodeError::NumberTooLong { at: start })
    }

    fn signed(&mut self) -> Result<i64, DecodeError> { self.varint().map(unzigzag) }
}

/// The first-order state that encoder and decoder update in the same way. Wrapping
/// arithmetic keeps even the extremes of i64 exact, because both sides wrap alike.
#[derive(Default)]
struct Predictor {
    time: i64,
    step: i64,
    value: i64,
}

impl Predictor {
    fn residuals(&mut self, s: Sample) -> (i64, i64) {
        let step = s.time.wrapping_sub(self.time);
        let pair = (step.wrapping_sub(self.step), s.value.wrapping_sub(self.value));
        *self = Predictor { time: s.time, step, value: s.value };
        pair
    }

    fn restore(&mut self, time_residual: i64, value_residual: i64) -> Sample {
        self.step = self.step.wrapping_add(time_residual);
        self.time = self.time.wrapping_add(self.step);
        self.value = self.value.wrapping_add(value_residual);
        Sample { time: self.time, value: self.value }
    }
}

pub fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 2 + 10);
    let mut predictor = Predictor::default();
    put_varint(&mut out, samples.len() as u64);
    for &sample in samples {
        let (time, value) = predictor.residuals(sample);
        put_varint(&mut out, zigzag(time));
        put_varint(&mut out, zigzag(value));
    }
    out
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Sample>, DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut predictor = Predictor::default();
    let count = reader.varint()?;
    let mut samples = Vec::new(); // the count is not trusted for reserving memory
    for _ in 0..count {
        let time = reader.signed()?;
        samples.push(predictor.restore(time, reader.signed()?));
    }
    match bytes.len() - reader.at {
        0 => Ok(samples),
        extra => Err(DecodeError::TrailingBytes(extra)),
    }
}

fn main() {
    let day: Vec<Sample> = (0..8640)
        .map(|i| Sample { time: 1_700_000_000 + 10 * i + i / 997, value: 2150 + (i * i / 50) % 37 })
        .collect();
    let bytes = encode(&day);
    println!("{} samples in {} bytes instead of {}", day.len(), bytes.len(), day.len() * 16);
    assert_eq!(decode(&bytes).as_deref(), Ok(&day[..]));
    assert!(bytes.len() < day.len() * 2 + 20);

    let extremes = [i64::MIN, i64::MAX, 0, -1, i64::MIN].map(|n| Sample { time: n, value: !n });
    assert_eq!(decode(&encode(&extremes)), Ok(extremes.to_vec()));
    assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);

    let cut = decode(&bytes[..bytes.len() - 1]).unwrap_err();
    let long = decode(&[0xff; 12]).unwrap_err();
    let tail = decode(&[0, 9, 9]).unwrap_err();
    println!("{cut:?}; {long:?}; {tail:?}");
    assert_eq!(long, DecodeError::NumberTooLong { at: 0 });
}
