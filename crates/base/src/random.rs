//! Seeded randomness that is handed down: one child generator a component, so that a simulation
//! with the same seed takes the same decisions whatever other components draw.
//!
//! xoshiro256** seeded by splitmix64 (Blackman, Vigna: "Scrambled linear pseudorandom number
//! generators", 2018). Not for keys: secrets come from `ring::rand` through [`Rng::fill_secret`].

use ring::rand::{SecureRandom, SystemRandom};

/// A deterministic generator.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The same seed gives the same sequence.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        Self {
            state: [(); 4].map(|()| splitmix(&mut x)),
        }
    }

    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        let mut bytes = [0; 8];
        Self::fill_secret(&mut bytes);
        Self::new(u64::from_le_bytes(bytes))
    }

    /// Cryptographically secure bytes from the operating system.
    pub fn fill_secret(bytes: &mut [u8]) {
        SystemRandom::new()
            .fill(bytes)
            .expect("getrandom(2) cannot fail once the kernel's pool is initialised");
    }

    /// An independent generator for a component.
    pub fn child(&mut self, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(self.u64() ^ hash)
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound` (0 if the bound is 0); the bias is below 2⁻⁶⁴ × bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a 128-bit product has 64 bits")
    }

    /// Fills `bytes`.
    pub fn bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

fn splitmix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *x;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence_and_children_differ() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert_eq!(a.u64(), b.u64());
        assert_ne!(a.child("x").u64(), b.child("y").u64());
        assert!((0..1000).all(|_| a.below(10) < 10));
    }
}
