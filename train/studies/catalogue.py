"""Every study by name."""

from collections.abc import Mapping

from train.studies import mbsg_severity, mbsg_table1, mbsg_table2, mbsg_table3
from train.studies.study import Study

STUDIES: Mapping[str, Study] = {
    "mbsg-severity": mbsg_severity.STUDY,
    "mbsg-table1": mbsg_table1.STUDY,
    "mbsg-table2": mbsg_table2.STUDY,
    "mbsg-table3": mbsg_table3.STUDY,
}
