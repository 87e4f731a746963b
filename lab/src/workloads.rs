//! What is allocated: sizes and orders, the same ones in every run.

use fastrand::Rng;

/// The seed of everything that is drawn.
pub(crate) const SEED: u64 = 0x5707_9047;

/// The flat mix of small sizes that drivers ask for: (percent, least, most).
const FLAT_MIX: [(u32, u32, u32); 12] = [
    (5, 16, 16),
    (25, 32, 32),
    (15, 48, 48),
    (5, 64, 64),
    (20, 80, 80),
    (8, 104, 149),
    (2, 164, 164),
    (12, 208, 208),
    (3, 256, 268),
    (2, 536, 536),
    (1, 1040, 1072),
    (2, 4096, 4096),
];

/// `count` sizes of the flat mix.
pub(crate) fn flat_mix(count: usize, rng: &mut Rng) -> Vec<u32> {
    let draw = |rng: &mut Rng| {
        let mut left = rng.u32(..100);
        for (percent, least, most) in FLAT_MIX {
            if left < percent {
                return rng.u32(least..=most);
            }
            left -= percent;
        }
        unreachable!("the percents add up to 100")
    };
    (0..count).map(|_| draw(rng)).collect()
}

/// `count` sizes between `least` and `most`.
pub(crate) fn even_mix(count: usize, least: u32, most: u32, rng: &mut Rng) -> Vec<u32> {
    (0..count).map(|_| rng.u32(least..=most)).collect()
}

/// 0 .. `count` in a random order.
pub(crate) fn order(count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    rng.shuffle(&mut order);
    order
}

/// A standard normal deviate (Box and Muller).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    // In (0, 1], so that the logarithm is finite.
    let (radius, turn) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * radius.ln()).sqrt() * (turn * std::f64::consts::TAU).cos()
}

/// A log-normal deviate with this median and 99th percentile.
pub(crate) fn log_normal(median: f64, p99: f64, rng: &mut Rng) -> f64 {
    /// The standard normal's 99th percentile.
    const Z99: f64 = 2.326_347_874;
    median * ((p99 / median).ln() / Z99 * normal(rng)).exp()
}

/// What a driver allocates when its adapter starts.
pub(crate) struct AdapterSet {
    pub(crate) name: &'static str,
    pub(crate) sizes: Vec<u32>,
}

/// Cores, queues and ports of the adapters.
const C: u32 = 8;
const Q: u32 = 8;
const P: u32 = 6;

/// The sets of the drivers whose source is public.
pub(crate) fn adapter_sets() -> [AdapterSet; 4] {
    let mut ahci = vec![14112 * P, 24000 * P, 16 * P, 120, 268, 60];
    for _ in 0..P {
        ahci.extend([536, 256, 64, 120]);
    }
    let mut nvme = vec![32, 24, 16 * C, 24 * C, 72 * (C + 1), 16 * C, 136 * (C + 1), 48 * (C + 1), 5592];
    nvme.extend((0..C).map(|_| 4096));
    [
        AdapterSet { name: "AHCI", sizes: ahci },
        AdapterSet { name: "NVMe", sizes: nvme },
        AdapterSet { name: "virtio block", sizes: vec![16 * (Q + 1)] },
        AdapterSet { name: "virtio SCSI", sizes: vec![16 * (Q + 3)] },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_whole_and_repeats() {
        assert_eq!(FLAT_MIX.iter().map(|row| row.0).sum::<u32>(), 100);
        let mix = || flat_mix(10_000, &mut Rng::with_seed(SEED));
        let sizes = mix();
        assert_eq!(sizes, mix());
        let share = |size: u32| sizes.iter().filter(|&&bytes| bytes == size).count();
        assert!((2300..2700).contains(&share(32)), "{}", share(32));
        assert!((130..280).contains(&share(4096)), "{}", share(4096));
    }

    #[test]
    fn an_order_has_each_index_once() {
        let mut order = order(1000, &mut Rng::with_seed(SEED));
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }

    #[test]
    fn lifetimes_have_their_percentiles() {
        let mut rng = Rng::with_seed(SEED);
        let mut drawn: Vec<_> = (0..100_000).map(|_| log_normal(80.0, 2000.0, &mut rng)).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((78.0..82.0).contains(&drawn[50_000]), "{}", drawn[50_000]);
        assert!((1800.0..2200.0).contains(&drawn[99_000]), "{}", drawn[99_000]);
    }

    #[test]
    fn the_ahci_set_is_30_blocks() {
        let [ahci, nvme, ..] = adapter_sets();
        assert_eq!((ahci.sizes.len(), nvme.sizes.len()), (30, 17));
    }
}
