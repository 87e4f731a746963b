use storport_pool::*;
#[test]
fn smoke() {
    let pool = Pool::new(128 << 20).unwrap();
    println!("rseq {}", pool.uses_rseq());
    let id = pool.add_adapter("disk0").unwrap();
    let mut v = vec![];
    for r in 0..3 {
        for i in 1..20000u32 {
            let mut a = 0;
            let s = pool.allocate(id, i % 5000 + 1, tag!("Ahci"), Some(&mut a));
            assert_eq!(s, Status::SUCCESS, "{r} {i}");
            v.push(a);
        }
        v.sort();
        let n = v.len();
        v.dedup();
        assert_eq!(v.len(), n);
        for a in v.drain(..) {
            assert_eq!(unsafe { pool.free(id, a) }, Status::SUCCESS);
        }
    }
    let mut a = 0;
    assert_eq!(pool.allocate(id, 40 << 20, tag!("Big0"), Some(&mut a)), Status::SUCCESS);
    assert_eq!(unsafe { pool.free(id, a) }, Status::SUCCESS);
    assert_eq!(unsafe { pool.free(id, a) }, Status::INVALID_PARAMETER);
    println!("{:#?}", pool.snapshot().tags);
    println!("{:?}", pool.trim());
    assert_eq!(pool.allocate(id, 126 << 20, tag!("Big0"), Some(&mut a)), Status::SUCCESS);
}
