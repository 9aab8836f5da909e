-- Every statement on the journal's tables, by name. Writing ones first.

-- name: new_work
INSERT INTO works(task, parts, created_us) VALUES (:task, :parts, :now_us);

-- name: new_run
INSERT INTO runs(uuid, work, mode, started_us, host, boot_id, pid, config, input)
VALUES (:uuid, :work, :mode, :started_us, :host, :boot_id, :pid, :config, :input);

-- name: earlier_runs
SELECT uuid FROM runs WHERE work = ? AND run < ? ORDER BY run;

-- name: latest_work
SELECT work, task, parts, created_us FROM works WHERE task = ? AND NOT is_pruned ORDER BY work DESC LIMIT 1;

-- name: newest_work
SELECT work, task, parts, created_us FROM works WHERE NOT is_pruned ORDER BY work DESC LIMIT 1;

-- name: last_job
SELECT coalesce(max(job), :first) - :first FROM jobs WHERE job > :first AND job <= :last;

-- name: latest_mark
SELECT mark_source, mark_offset, mark_line, mark_digest, mark_records FROM runs
WHERE work = ? AND mark_digest IS NOT NULL ORDER BY run DESC LIMIT 1;

-- name: set_mark
UPDATE runs SET mark_source = ?, mark_offset = ?, mark_line = ?, mark_digest = ?, mark_records = ? WHERE run = ?;

-- name: add_job
INSERT INTO jobs(job, work, job_key, payload, source, line, problem, format, fields, accepted_us)
VALUES (:job, :work, :key, :payload, :source, :line, :problem, :format, :fields, :accepted_us);

-- name: open_jobs
SELECT count(*) FROM jobs WHERE job > ? AND job <= ? AND state IN ('Q', 'R');

-- name: job_outcome
SELECT attempts FROM jobs WHERE job = ? AND state IN ('S', 'F');

-- name: drop_unmet
DROP TABLE IF EXISTS temp.unmet;

-- name: make_unmet
-- Jobs of earlier runs that today's input has not shown yet, to be found by their keys.
CREATE TEMP TABLE unmet(
  job_key BLOB, job INTEGER, state TEXT, attempts INTEGER, interruptions INTEGER, alone INTEGER,
  PRIMARY KEY(job_key, job)) WITHOUT ROWID;

-- name: next_jobs
SELECT job, job_key, state, attempts, interruptions, alone FROM jobs WHERE job > ? AND job <= ? ORDER BY job LIMIT ?;

-- name: not_succeeded
-- By the two partial indexes, so that a long finished journal is not read through.
SELECT state, count(*) FROM jobs WHERE job > ? AND job <= ? AND state IN ('F', 'H') GROUP BY state
UNION ALL SELECT 'Q', count(*) FROM jobs WHERE job > ? AND job <= ? AND state IN ('Q', 'R');

-- name: fill_unmet
-- Sorted, so that a million of them take a second or two.
INSERT INTO temp.unmet SELECT job_key, job, state, attempts, interruptions, alone FROM jobs
WHERE job > ? AND job <= ? ORDER BY job_key, job;

-- name: find_unmet
SELECT job, state, attempts, interruptions, alone FROM temp.unmet WHERE job_key = ? ORDER BY job LIMIT 1;

-- name: meet
DELETE FROM temp.unmet WHERE job_key = ? AND job = ?;

-- name: start
-- An attempt that was interrupted in this very run may be started again under its number.
INSERT INTO attempts(job, number, run, worker, is_alone, started_us)
SELECT job, ?, ?, ?, ?, ? FROM jobs WHERE job = ? AND state IN ('Q', 'R')
ON CONFLICT(job, number, run) DO UPDATE SET
  worker = excluded.worker, is_alone = excluded.is_alone, started_us = excluded.started_us, ended_us = NULL,
  pid = NULL, pid_start = NULL, outcome = NULL, exit_code = NULL, signal = NULL, error = NULL
WHERE outcome = 'interrupted';

-- name: note_pid
UPDATE attempts SET pid = ?, pid_start = ? WHERE job = ? AND number = ? AND run = ? AND outcome IS NULL;

-- name: finish_attempt
-- In the order of the fields of a Finish, then the run, and the number below the work's first job.
-- Its work began when a worker was free for it, which may be long after the start was written down.
UPDATE attempts SET outcome = ?3, ended_us = ?4, error = ?6, exit_code = ?7, signal = ?8, result_chars = ?9, result = ?10,
  output = ?11, worker = coalesce(nullif(?12, ''), worker),
  started_us = CASE WHEN ?13 THEN max(started_us, ?4 - ?13) ELSE started_us END
WHERE job = ?1 + ?15 AND number = ?2 AND run = ?14 AND outcome IS NULL;

-- name: finish_job
UPDATE jobs SET state = ?, attempts = attempts + ? WHERE job = ?;

-- name: decide
INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: decisions
SELECT look, at_us, workers, reason, queued, in_flight, waiting, allowed, delayed, clock_us, busy_us, started, ended,
       capacity, overloads
FROM decisions WHERE run = ? AND look > ? ORDER BY look LIMIT ?;

-- name: end_run
UPDATE runs SET ended_us = ?, outcome = 'ended', exit_code = ?, succeeded = ?, failed = ?, held = ?, unfinished = ?
WHERE run = ? AND ended_us IS NULL;

-- name: reopen
UPDATE jobs SET state = 'Q', attempts = 0, interruptions = 0, alone = 0
WHERE job > ? AND job <= ? AND state = ?;

-- name: pending
SELECT job, state, attempts, interruptions, alone, payload, source, line, problem, format, fields FROM jobs
WHERE job > ? AND job <= ? AND state IN ('Q', 'R') ORDER BY job LIMIT ?;

-- name: pending_unmet
SELECT job, state, attempts, interruptions, alone, payload, source, line, problem, format, fields FROM jobs
WHERE job > ? AND job <= ? AND state IN ('Q', 'R')
  AND EXISTS (SELECT 1 FROM temp.unmet WHERE unmet.job_key = jobs.job_key AND unmet.job = jobs.job)
ORDER BY job LIMIT ?;

-- name: crashed_runs
SELECT run, uuid, boot_id FROM runs WHERE ended_us IS NULL ORDER BY run;

-- name: set_crashed
UPDATE runs SET ended_us = ?, outcome = 'crashed' WHERE ended_us IS NULL;

-- name: open_attempts
-- Of killed runs. Only a job that is not over can have one, so a long finished journal is not read through.
SELECT attempts.job, number, runs.run, is_alone, attempts.pid, attempts.pid_start, runs.uuid, runs.boot_id
FROM runs CROSS JOIN jobs ON jobs.job > runs.work * 1099511627776 AND jobs.job < (runs.work + 1) * 1099511627776
  AND jobs.state IN ('Q', 'R')
JOIN attempts ON attempts.job = jobs.job AND attempts.run = runs.run
WHERE runs.ended_us IS NULL AND attempts.outcome IS NULL ORDER BY attempts.job, number;

-- name: interrupt_attempt
UPDATE attempts SET outcome = 'interrupted', ended_us = ? WHERE job = ? AND number = ? AND run = ?;

-- name: close_attempts
-- What a run leaves open at its end was cut short by it.
UPDATE attempts SET outcome = 'interrupted', ended_us = :ended_us WHERE outcome IS NULL AND run = :run AND job IN (
  SELECT job FROM jobs WHERE job > :first AND job <= :last AND state IN ('Q', 'R'));

-- name: interrupt_job
UPDATE jobs SET interruptions = interruptions + 1, alone = alone + ? WHERE job = ?;

-- name: interruptions
SELECT interruptions, alone FROM jobs WHERE job = ?;

-- name: hold
UPDATE jobs SET state = 'H' WHERE job = ? AND state IN ('Q', 'R');

-- name: prunable_works
-- Whole works only: a part that is gone would run again on resume. One with open jobs is never removed.
SELECT work FROM works WHERE is_pruned OR (
  work NOT IN (SELECT work FROM runs ORDER BY run DESC LIMIT :keep_runs)
  AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.work = works.work AND (ended_us IS NULL OR ended_us >= :before_us))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE state IN ('Q', 'R') AND job > works.work * 1099511627776
                  AND job < (works.work + 1) * 1099511627776));

-- name: set_pruned
UPDATE works SET is_pruned = 1 WHERE work = ?;

-- name: prune_jobs
DELETE FROM jobs WHERE job IN (SELECT job FROM jobs WHERE job > ? AND job <= ? LIMIT ?);

-- name: prune_runs
DELETE FROM runs WHERE work = ?;

-- name: prune_work
DELETE FROM works WHERE work = ?;

-- name: runs
SELECT run, uuid, work, mode, started_us, ended_us, outcome, exit_code, succeeded, failed, held, unfinished,
       host, pid, input
FROM runs ORDER BY run DESC LIMIT ?;

-- name: counts
SELECT state, count(*), CASE WHEN state IN ('Q', 'R') THEN (
  SELECT count(*) FROM jobs AS open JOIN attempts USING(job)
  WHERE open.state IN ('Q', 'R') AND open.state = mine.state AND open.job > :first AND open.job <= :last
    AND outcome IS NULL) ELSE 0 END
FROM jobs AS mine WHERE job > :first AND job <= :last GROUP BY state;

-- name: attempts_of_run
SELECT coalesce(outcome, 'running'), count(*) FROM attempts WHERE run = ? GROUP BY 1;

-- name: failed_in_run
SELECT count(*) FROM attempts JOIN jobs USING(job)
WHERE attempts.run = ? AND outcome IN ('failed', 'timeout') AND state = 'F' AND number = jobs.attempts;

-- name: lost_jobs
SELECT job, state, jobs.attempts, interruptions, payload, source, line,
       (SELECT error FROM attempts WHERE attempts.job = jobs.job ORDER BY run DESC, number DESC LIMIT 1),
       (SELECT exit_code FROM attempts WHERE attempts.job = jobs.job ORDER BY run DESC, number DESC LIMIT 1),
       (SELECT signal FROM attempts WHERE attempts.job = jobs.job ORDER BY run DESC, number DESC LIMIT 1)
FROM jobs WHERE job > ? AND job <= ? AND state IN ('F', 'H') ORDER BY job LIMIT ?;

-- name: run_named
SELECT run, uuid, work, mode, started_us, ended_us, outcome, exit_code, succeeded, failed, held, unfinished,
       host, pid, input
FROM runs WHERE uuid = ?;

-- name: run_settings
SELECT parts, config FROM runs JOIN works USING(work) WHERE run = ?;

-- name: report_span
-- When an interruption was written down says nothing: that may be days later.
SELECT count(*), min(started_us), max(started_us), max(CASE WHEN outcome != 'interrupted' THEN ended_us END)
FROM attempts WHERE job > :first AND job <= :last AND run = :run;

-- name: report_tries
-- The last column tells whether the job went on behind this run: with its next number if it was to be tried again,
-- from 1 if it had failed for good.
SELECT job, number, worker, started_us, ended_us, outcome, error, state, accepted_us,
       CASE WHEN outcome IN ('failed', 'timeout') THEN (
         SELECT number FROM attempts AS later WHERE later.job = attempts.job AND later.run > attempts.run
         ORDER BY later.run, later.number LIMIT 1) END
FROM attempts JOIN jobs USING(job) WHERE job > :first AND job <= :last AND run = :run ORDER BY job, number;

-- name: report_tries_of_1
-- In a file of version 1, which does not say when jobs were accepted.
SELECT job, number, worker, started_us, ended_us, outcome, error, state, NULL,
       CASE WHEN outcome IN ('failed', 'timeout') THEN (
         SELECT number FROM attempts AS later WHERE later.job = attempts.job AND later.run > attempts.run
         ORDER BY later.run, later.number LIMIT 1) END
FROM attempts JOIN jobs USING(job) WHERE job > :first AND job <= :last AND run = :run ORDER BY job, number;

-- name: report_record
SELECT substr(payload, 1, :most), length(payload), source, line FROM jobs WHERE job = :job;

-- name: report_output
SELECT output FROM attempts WHERE job = ? AND number = ? AND run = ?;
