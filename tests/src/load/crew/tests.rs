use super::*;

#[derive(Debug, Default)]
struct Count(usize);

impl Sum for Count {
    fn add(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

#[test]
fn counts_of_all_threads_are_added_up() {
    let crew = Crew::start(3, Instant::now(), |number, post: &Post<Count>| {
        post.wait_for_span()?;
        Ok(Count(10 + number))
    });
    let crew = crew.unwrap();
    crew.wait_ready().unwrap();
    assert_eq!(crew.measure(0, None).unwrap().counts.0, 33);
}

#[test]
fn a_failure_of_one_thread_ends_the_run() {
    let crew = Crew::start(2, Instant::now(), |number, post: &Post<Count>| {
        post.wait_for_span()?;
        if number == 1 {
            bail!("the server closed the connection")
        }
        Ok(Count(1))
    });
    let crew = crew.unwrap();
    crew.wait_ready().unwrap();
    let error = crew.measure(0, Some(60)).unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection");
}

#[test]
fn a_thread_that_panics_ends_the_run() {
    let work = |_, _: &Post<Count>| -> anyhow::Result<Count> { panic!("on purpose") };
    let error = Crew::start(1, Instant::now(), work).unwrap().wait_ready().unwrap_err();
    assert_eq!(error.to_string(), "a thread panicked");
}
