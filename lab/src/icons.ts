import { LabIcon } from '@jupyterlab/ui-components';

import pachmountSvg from '../style/icons/pachmount.svg';

export const pachmountIcon = new LabIcon({ name: 'pachmount:panel', svgstr: pachmountSvg });
