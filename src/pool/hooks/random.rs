//! Random numbers for sampling: SplitMix64 (Steele, Lea and Flood, 2014).

#[cfg(feature = "std")]
use core::num::NonZeroU32;
use core::ptr;

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number that differs from run to run, so that a buffer which one run does not sample is sampled by another one: where
/// the system placed this value. A model checker must be able to repeat a run, so it gets 0.
pub(super) fn seed<T>(place: &T) -> u64 {
    if cfg!(any(millpond_loom, millpond_shuttle)) { 0 } else { ptr::from_ref(place).addr() as u64 }
}

#[cfg(feature = "std")]
pub(super) struct Random(u64);

#[cfg(feature = "std")]
impl Random {
    /// The sequence with this number, of all that have this seed.
    pub(super) fn new(seed: u64, number: u32) -> Self {
        Self(seed.rotate_left(32) ^ u64::from(number))
    }

    /// How many of a sequence of acquires pass before the first that is sampled, if each is with the probability 1/`one_in`:
    /// a geometric distribution with mean `one_in - 1`.
    pub(super) fn gap(&mut self, one_in: NonZeroU32) -> u64 {
        /// 1, in fixed point.
        const ONE: u64 = 1 << 63;
        // The probability of a gap is that of its bits: with q = 1 - 1/one_in, it is proportional to the product of
        // q^(2^i) over the bits that are set. So the bits are independent, and bit i is set with the probability
        // q^(2^i) / (1 + q^(2^i)). No logarithm, and no loop over the acquires.
        let mut power = ONE - ONE / u64::from(one_in.get());
        let (mut gap, mut bit) = (0, 1);
        while power > 0 {
            if u128::from(self.next() >> 1) * u128::from(ONE + power) < u128::from(power) << 63 {
                gap |= bit;
            }
            power = ((u128::from(power) * u128::from(power)) >> 63) as u64;
            bit <<= 1;
        }
        gap
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }
}

/// Whether the acquire with this number is sampled, with the probability 1/`one_in`, for threads without a countdown.
pub(super) fn is_sampled(seed: u64, acquire: u32, one_in: u32) -> bool {
    let high = mix(u64::from(acquire).wrapping_mul(STEP).wrapping_add(seed)) >> 32;
    high * u64::from(one_in) < 1 << 32
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
