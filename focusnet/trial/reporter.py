"""Reports what a trial does to its caller, and records it in the trial's folder."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from focusnet.errors import ReportNotDelivered
from focusnet.training.epoch_record import EpochRecord
from focusnet.trial.folder import TrialFolder

Report = Callable[[dict[str, Any]], None]


class Reporter:
    """Calls the callbacks of ``focusnet.pipeline.run_trial``."""

    def __init__(
        self,
        folder: TrialFolder,
        report: Report | None,
        while_waiting: Callable[[str], None] | None,
    ) -> None:
        self.folder = folder
        self._report = report
        self._while_waiting = while_waiting
        self._told: set[tuple[str, int]] = set()  # epochs that an earlier process has reported

    def report(self, record: EpochRecord) -> None:
        """Call the caller's ``report``, if there is one."""
        if self._report is not None:
            self._report(record.flat())

    def report_and_record(self, record: EpochRecord, *, hold: bool = False) -> None:
        """Report an epoch, then record that it was reported: also if the report ends the trial.

        With ``hold`` it is only recorded: the caller reports it when the results are written. An
        epoch that a killed process has reported, after its last checkpoint, is not reported again.
        """
        if (record.stage, record.epoch) in self._told:
            return
        if not hold:
            try:
                self.report(record)
            except ReportNotDelivered:
                raise
            except BaseException:
                self.folder.add(record)
                raise
        self.folder.add(record)

    def report_missed(
        self,
        stage: str,
        before: Iterable[EpochRecord],
        records: Sequence[EpochRecord],
        *,
        hold_last: bool = False,
    ) -> None:
        """Begin a stage that resumes after ``records``, and report those not yet reported.

        Args:
            before: epochs of the stages before it.
            hold_last: see ``hold`` of ``report_and_record``.
        """
        reported = self.folder.reported(stage)
        self._told |= {(stage, epoch) for epoch in reported}
        self.folder.begin([*before, *reported.values()])
        for record in records:
            if record.epoch not in reported:
                self.report_and_record(record, hold=hold_last and record.is_last)

    def begin_shared(self, stage: str, records: Sequence[EpochRecord]) -> None:
        """Begin a stage that another trial may have begun, and that resumes after ``records``.

        Those are recorded and not reported.
        """
        reported = self.folder.reported(stage)
        self._told |= {(stage, epoch) for epoch in reported}
        done = {record.epoch for record in records}
        later = [record for epoch, record in reported.items() if epoch not in done]
        self.folder.begin([*records, *later])

    def wait(self, at: str, key: str, seconds: float) -> None:
        """Tell what the trial has been doing for ``seconds`` instead of reporting epochs.

        Args:
            at: such as 'waiting for template'. key: of that template.
        """
        if not seconds:
            self.folder.wait(at, key)
        if self._while_waiting is not None:
            self._while_waiting(at)
