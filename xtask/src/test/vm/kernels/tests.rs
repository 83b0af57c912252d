use super::*;

#[test]
fn newest_kernel_of_a_series_is_told_by_number() {
    let packages: Vec<String> = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64-unsigned",
        "linux-image-6.1.0-99-amd64",
        "linux-image-6.12.9+deb12-cloud-amd64",
        "linux-image-6.12.117+deb12-cloud-amd64",
        "linux-image-6.12-cloud-amd64",
    ]
    .map(str::to_owned)
    .to_vec();
    let newest = |series| newest(&packages, series);
    assert_eq!(newest("6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
    assert_eq!(newest("6.12").as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
    assert_eq!(newest("6.6"), None);
}
