"""Every study by name."""

from collections.abc import Mapping

from quire.train.studies.cnn2graph import attention as cnn2graph_attention
from quire.train.studies.cnn2graph import figure4 as cnn2graph_figure4
from quire.train.studies.cnn2graph import table1 as cnn2graph_table1
from quire.train.studies.cnn2graph import table2 as cnn2graph_table2
from quire.train.studies.cnn2graph import table3 as cnn2graph_table3
from quire.train.studies.cnn2graph import table6 as cnn2graph_table6
from quire.train.studies.mbgnn import figure5 as mbgnn_figure5
from quire.train.studies.mbsg import ablations as mbsg_ablations
from quire.train.studies.mbsg import epochs as mbsg_epochs
from quire.train.studies.mbsg import figure3 as mbsg_figure3
from quire.train.studies.mbsg import severity as mbsg_severity
from quire.train.studies.mbsg import table1 as mbsg_table1
from quire.train.studies.mbsg import table2 as mbsg_table2
from quire.train.studies.mbsg import table3 as mbsg_table3
from quire.train.studies.mbsg import table4 as mbsg_table4
from quire.train.studies.mbsg import table5 as mbsg_table5
from quire.train.studies.segmix import bias as segmix_bias
from quire.train.studies.segmix import figure5 as segmix_figure5
from quire.train.studies.segmix import table1 as segmix_table1
from quire.train.studies.segmix import table3 as segmix_table3
from quire.train.studies.segmix import table4 as segmix_table4
from quire.train.studies.segmix import table5 as segmix_table5
from quire.train.studies.segmix import table6 as segmix_table6
from quire.train.studies.segmix import table7 as segmix_table7
from quire.train.studies.segmix import table8 as segmix_table8
from quire.train.studies.segmix import table9 as segmix_table9
from quire.train.studies.segmix import table10 as segmix_table10
from quire.train.studies.snn import figures as snn_figures
from quire.train.studies.snn import table1 as snn_table1
from quire.train.studies.snn import table2 as snn_table2
from quire.train.studies.study import Study

STUDIES: Mapping[str, Study] = {
    "cnn2graph-table1": cnn2graph_table1.STUDY,
    "cnn2graph-table2": cnn2graph_table2.STUDY,
    "cnn2graph-table3": cnn2graph_table3.STUDY,
    "cnn2graph-table6": cnn2graph_table6.STUDY,
    "cnn2graph-figure4": cnn2graph_figure4.STUDY,
    "cnn2graph-figure5": cnn2graph_attention.PROXIES,
    "cnn2graph-figure6": cnn2graph_attention.ANCHORS,
    "mbgnn-figure5": mbgnn_figure5.STUDY,
    "mbsg-severity": mbsg_severity.STUDY,
    "mbsg-table1": mbsg_table1.STUDY,
    "mbsg-table2": mbsg_table2.STUDY,
    "mbsg-table3": mbsg_table3.STUDY,
    "mbsg-table4": mbsg_table4.STUDY,
    "mbsg-table5": mbsg_table5.STUDY,
    "mbsg-ablations": mbsg_ablations.STUDY,
    "mbsg-epochs": mbsg_epochs.STUDY,
    "mbsg-figure3": mbsg_figure3.STUDY,
    "segmix-table1": segmix_table1.STUDY,
    "segmix-table3": segmix_table3.STUDY,
    "segmix-table4": segmix_table4.STUDY,
    "segmix-table5": segmix_table5.STUDY,
    "segmix-table6": segmix_table6.STUDY,
    "segmix-table7": segmix_table7.STUDY,
    "segmix-table8": segmix_table8.STUDY,
    "segmix-table9": segmix_table9.STUDY,
    "segmix-table10": segmix_table10.STUDY,
    "segmix-bias": segmix_bias.STUDY,
    "segmix-figure5": segmix_figure5.STUDY,
    "snn-figures": snn_figures.STUDY,
    "snn-table1": snn_table1.STUDY,
    "snn-table1-networkx": snn_table1.OF_NETWORKX,
    "snn-table2": snn_table2.STUDY,
}
