//! What `oaas` prints and exits with, command by command: see `tests/cases`.
//! `TRYCMD=overwrite cargo test -p oaas` takes over what it prints now; read the difference.

#[test]
fn printed_text_and_exit_codes() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .env("LC_ALL", "C.UTF-8")
        .env("OAAS_STATE_DIR", "/nonexistent/oaas")
        .env("OAAS_CACHE_DIR", "/nonexistent/cache")
        .case("tests/cases/*.trycmd");
}
