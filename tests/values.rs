//! How values are shown, converted, compared, and written as JSON.

use std::collections::HashSet;

use storport_pool::{AdapterId, Config, CreateError, Irql, IrqlError, Pool, PoolTag, Status, TagError, tag};

#[test]
fn conversions() {
    assert_eq!(PoolTag::try_from("Ahci"), Ok(tag!("Ahci")));
    assert_eq!(PoolTag::try_from("Ahcis"), Err(TagError::Length));
    assert_eq!((PoolTag::from(*b"Ahci"), <[u8; 4]>::from(tag!("Ahci"))), (tag!("Ahci"), *b"Ahci"));
    assert_eq!((PoolTag::from(7u32), u32::from(PoolTag::from_raw(7))), (PoolTag::from_raw(7), 7));
    assert_eq!((Irql::try_from(2), u8::from(Irql::HIGH)), (Ok(Irql::DISPATCH), 15));
    let error: IrqlError = Irql::try_from(16).unwrap_err();
    assert_eq!(error.to_string(), "16 is no IRQL; they are 0 to 15");
    assert_eq!(Result::from(Status::BUSY), Err(Status::BUSY));
    assert_eq!((u32::from(Status::BUSY), Status::from(0xC100_000C)), (0xC100_000C, Status::BUSY));
    assert_eq!(Status::named("STOR_STATUS_INVALID_IRQL"), Some(Status::INVALID_IRQL));
    assert_eq!((Status::named("INVALID_IRQL"), Status::named("STOR_STATUS_")), (None, None));
    assert_eq!(AdapterId::from(u32::from(AdapterId::from_raw(5))), AdapterId::from_raw(5));
}

/// All short texts fill the width that they are given.
#[test]
fn widths_are_honoured() {
    let shown = [
        (format!("{:>8}", tag!("Srb0")), "    Srb0"),
        (format!("{:<6}|", PoolTag::from_raw(0)), "      |"),
        (format!("{:>8?}", tag!("Srb0")), "  'Srb0'"),
        (format!("{:^12}", AdapterId::from_raw(5)), " adapter 5  "),
        (format!("{:>10}", AdapterId::ORPHANS), "   orphans"),
        (format!("{:>8}", Irql::DEVICE), " DIRQL 3"),
        (format!("{:*<15}", Irql::PASSIVE), "PASSIVE_LEVEL**"),
        (format!("{:>24}", Status::from_code(0xC123_4567)), "  STOR_STATUS 0xC1234567"),
        (format!("{:<24}|", Status::BUSY), "STOR_STATUS_BUSY        |"),
    ];
    for (is, wanted) in shown {
        assert_eq!(is, wanted);
    }
    let pool = Pool::new(1 << 20).unwrap();
    assert_eq!(format!("{:>39}", pool.trim().unwrap()), "   0 slabs returned, 0 bytes given back");
}

#[test]
fn reports_are_tables() {
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.add_adapter("disk0").unwrap();
    let first = pool.try_allocate(disk, 208, tag!("VioS")).unwrap();
    for _ in 0..2 {
        let _ = pool.try_allocate(disk, 100, tag!("Sens")).unwrap();
    }
    assert_eq!(pool.try_allocate(disk, 0, tag!("VioS")), Err(Status::INVALID_PARAMETER));
    // SAFETY: our block.
    assert_eq!(unsafe { pool.free(disk, first) }, Status::SUCCESS);
    let snapshot = pool.snapshot();
    let shown = snapshot.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "Tag         Allocs       Frees      Diff         Bytes   Per Alloc");
    assert_eq!(lines[1], "Sens             2           0         2           200         100");
    assert_eq!(lines[2], "VioS             1           1         0             0           0");
    assert!(lines[3].starts_with("range 1048576 bytes, free "), "{}", lines[3]);
    assert_eq!((lines[4], lines.len()), ("violations 1", 5));
    let account = snapshot.accounts.iter().find(|row| row.tag == Some(tag!("Sens"))).unwrap();
    assert_eq!(account.to_string(), format!("{}  \"disk0\"", lines[1]));
    let usage = pool.usage().to_string();
    assert_eq!(
        usage.lines().nth(1).unwrap(),
        "all              3           1         2           200         100"
    );
    let leaks = pool.leaks(Some(disk)).to_string();
    assert_eq!(leaks.lines().nth(1).unwrap(), "         200         2       100  Sens  adapter \"disk0\"");
    let check = pool.check().unwrap().to_string();
    assert_eq!(check, "the metadata is right\n");
    let removal = pool.remove_adapter(disk).unwrap().to_string();
    assert_eq!(removal, "left 2 blocks, 200 bytes\n  tag 'Sens': 2 blocks, 200 bytes\n");
}

#[test]
fn equal_values_are_one_in_a_set() {
    let pool = Pool::new(1 << 20).unwrap();
    let snapshots = HashSet::from([pool.snapshot(), pool.snapshot()]);
    assert_eq!(snapshots.len(), 1);
    let errors = HashSet::from([CreateError::Cpus(0), CreateError::Cpus(0), CreateError::Cpus(513)]);
    assert_eq!(errors.len(), 2);
    assert_eq!(HashSet::from([Config::new(0, 1 << 20), Config::new(0, 1 << 20)]).len(), 1);
}

#[cfg(feature = "serde")]
mod json {
    use super::*;
    use serde_json::{from_str, from_value, json, to_value};
    use storport_pool::{PoolOptions, ViolationKind};

    #[test]
    fn values_come_back() {
        for tag in [tag!("Srb0"), tag!("Ab"), PoolTag::from_raw(0), PoolTag::from_raw(u32::MAX), tag!("A b ")]
        {
            assert_eq!(from_value::<PoolTag>(to_value(tag).unwrap()).unwrap(), tag);
        }
        assert_eq!(
            (to_value(tag!("Ab")).unwrap(), to_value(PoolTag::from_raw(3)).unwrap()),
            (json!("Ab"), json!(3))
        );
        for status in [Status::SUCCESS, Status::INVALID_IRQL, Status::from_code(77)] {
            assert_eq!(from_value::<Status>(to_value(status).unwrap()).unwrap(), status);
        }
        assert_eq!(to_value(Status::BUSY).unwrap(), json!("STOR_STATUS_BUSY"));
        assert_eq!(from_value::<Irql>(json!(2)).unwrap(), Irql::DISPATCH);
        assert_eq!(from_value::<AdapterId>(json!(9)).unwrap(), AdapterId::from_raw(9));
    }

    #[test]
    fn wrong_values_are_refused_by_what_is_wanted() {
        let wrong = [
            from_value::<PoolTag>(json!("toolong")).unwrap_err().to_string(),
            from_value::<PoolTag>(json!(1u64 << 32)).unwrap_err().to_string(),
            from_value::<Status>(json!("BUSY")).unwrap_err().to_string(),
            from_value::<Irql>(json!(16)).unwrap_err().to_string(),
            from_str::<Config>(r#"{"bytes": 65536, "cpu": 1}"#).unwrap_err().to_string(),
            from_str::<Config>("{}").unwrap_err().to_string(),
        ];
        let wanted = [
            "one to four printable",
            "or its number",
            "a status's name",
            "an IRQL, 0 to 15",
            "unknown field `cpu`",
            "`bytes`",
        ];
        for (is, wanted) in wrong.iter().zip(wanted) {
            assert!(is.contains(wanted), "{is}: {wanted}");
        }
    }

    #[test]
    fn a_configuration_needs_its_bytes_alone() {
        let config: Config = from_str(r#"{"bytes": 1048576, "min_block": 64}"#).unwrap();
        assert_eq!(config, Config::new(0, 1 << 20).min_block(64));
        assert_eq!(from_value::<Config>(to_value(config).unwrap()).unwrap(), config);
        assert!(PoolOptions::with_config(config).build().is_ok());
    }

    #[test]
    fn reports_are_written() {
        let pool = Pool::new(1 << 20).unwrap();
        let disk = pool.add_adapter("disk0").unwrap();
        let address = pool.try_allocate(disk, 208, tag!("VioS")).unwrap();
        let snapshot = to_value(pool.snapshot()).unwrap();
        assert_eq!(snapshot["tags"][0]["tag"], json!("VioS"));
        assert_eq!(snapshot["accounts"][0]["name"], json!("disk0"));
        assert_eq!(snapshot["tags"][0]["totals"]["bytes_requested"], json!(208));
        assert_eq!(to_value(pool.leaks(None)).unwrap()["rows"][0]["blocks"], json!(1));
        assert_eq!(to_value(pool.check().unwrap()).unwrap()["faults"], json!(0));
        assert_eq!(to_value(pool.inspect_block(address)).unwrap()["state"], json!("Live"));
        let (to, from) = std::sync::mpsc::channel();
        pool.on_violation(move |violation| to.send(to_value(violation).unwrap()).unwrap());
        // SAFETY: our block, once; then its address again, which changes nothing.
        let _ = unsafe { (pool.free(disk, address), pool.free(disk, address)) };
        let told = from.recv().unwrap();
        assert_eq!(told["kind"], to_value(ViolationKind::DoubleFree).unwrap());
        assert_eq!(
            (&told["caller_name"], &told["allocated"]["kind"]),
            (&json!("disk0"), &json!("NotTracked"))
        );
        assert_eq!(
            to_value(pool.remove_adapter(disk).unwrap()).unwrap(),
            json!({"outstanding": [], "exact": true})
        );
    }
}
