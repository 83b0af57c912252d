use super::*;

fn run_help(columns: usize) -> String {
    let mut command = command().term_width(columns);
    // Subcommands take the width over when they are built.
    command.build();
    let run = command.find_subcommand_mut("run").expect("run");
    run.render_long_help().to_string()
}

#[test]
fn command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn help_gives_every_setting_its_default() {
    let help = run_help(HELP_COLUMNS_MAX);
    let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (key, default) in Config::default().entries() {
        assert!(help.contains(&format!("--{key}")), "no --{key}");
        let Some(default) = default.as_ref().map(as_flag) else { continue };
        // Some keys begin as others do: a name ends where its value begins.
        let after = [" ", "["].map(|end| flat.split_once(&format!("--{key}{end}")));
        let section = after.into_iter().flatten().next().unwrap_or_default().1;
        let section = section.split(" --").next().unwrap_or_default();
        assert!(section.contains(&format!(". [default: {default}]")), "{key}: {section}");
    }
}

#[test]
fn help_wraps_at_the_width_of_the_terminal() {
    for columns in [60, 80, HELP_COLUMNS_MAX] {
        let help = run_help(columns);
        let longest = help.lines().max_by_key(|line| line.chars().count()).expect("help");
        assert!(longest.chars().count() <= columns, "{columns}: {longest:?}");
    }
}

#[test]
fn help_says_which_connections_are_served_by_default() {
    let limit = push_server::config::CONNECTIONS_DEFAULT_MAX.to_string();
    assert!(
        run_help(HELP_COLUMNS_MAX).contains(&limit),
        "the text of --max-connections has another number"
    );
}

#[test]
fn run_takes_file_and_flags_together() {
    let arguments = ["push-server", "run", "--config", "a.toml", "--shards", "2", "--status"];
    let matches = command().try_get_matches_from(arguments).expect("valid");
    let Subcommand::Run(run) = Cli::from_arg_matches(&matches).expect("valid").subcommand else {
        panic!("another action");
    };
    assert_eq!(run.config, Some("a.toml".into()));
    assert_eq!(run.settings.status, Some(true));
    assert!(run.settings.shards.is_some() && run.settings.log.is_none());
}
